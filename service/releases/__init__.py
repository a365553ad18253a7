"""Releases: published, co-signed, revoked, found by name, digest or ancestry."""
