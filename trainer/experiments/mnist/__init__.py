"""The experiments on digits."""
