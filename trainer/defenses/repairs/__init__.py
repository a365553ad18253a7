"""Repairs: a model goes in, a model comes out, hopefully without its backdoor."""
