"""Formats of other projects: transparency logs, Model Signing, CycloneDX."""
