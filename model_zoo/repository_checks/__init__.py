"""Judges a TUF repository from outside, by the rules of the specification."""
