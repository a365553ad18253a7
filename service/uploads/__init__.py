"""Uploads in parts, until a release or a job takes them."""
