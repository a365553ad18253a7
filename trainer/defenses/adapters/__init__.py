"""Scanners of adapters: they and their base are judged together."""
