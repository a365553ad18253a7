"""The one HTTP client: every wait on a server has an end, and so has every answer."""
