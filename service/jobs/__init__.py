"""Jobs: queued, leased, tried, reported, and the workers the service starts."""
