"""What runs, caches and reports the experiments."""
