"""What every party of the zoo shares, and the client: no torch, no web framework."""

__version__ = "0.2.0"
