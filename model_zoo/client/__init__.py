"""The client: what a publisher, a victim-to-be, an operator and a worker call."""
