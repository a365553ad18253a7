"""Keys: made, named, kept encrypted, and used to sign and verify."""
