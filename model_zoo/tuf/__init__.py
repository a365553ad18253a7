"""The Update Framework: roles, keys, and the client's view of a repository."""
