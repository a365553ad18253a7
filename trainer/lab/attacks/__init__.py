"""What the adversary does."""
