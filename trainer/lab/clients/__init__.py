"""Stock clients' scripts: each runs in an environment that has its client alone."""
