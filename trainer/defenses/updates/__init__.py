"""Updates: what changed between a model and its parent, and whether that is usual."""
