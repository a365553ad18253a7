"""Scanners: a model goes in, a report of what may be wrong with it comes out."""
