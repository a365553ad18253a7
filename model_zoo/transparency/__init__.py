"""An append-only log of what was published, and its witnesses."""
