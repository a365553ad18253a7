"""What is signed about a model, and whether it can be believed."""
