"""Learning: the loop, its state, its first network and what it is shown."""
