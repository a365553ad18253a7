"""Adapters of a sentence encoder, clean and backdoored, under their scanners."""
