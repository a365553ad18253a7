"""The experiments on traffic signs."""
