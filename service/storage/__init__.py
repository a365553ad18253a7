"""What the service keeps on disk beside its database."""
