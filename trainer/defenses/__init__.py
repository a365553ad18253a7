"""What a defender can do with a model and a few clean images."""
