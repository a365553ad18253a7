"""From a spec to a folder of results."""
