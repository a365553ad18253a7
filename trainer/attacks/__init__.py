"""What an adversary does to training data: pure functions of tensors."""
