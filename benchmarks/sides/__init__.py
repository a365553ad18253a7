"""What is measured: one program a side, a task as JSON in, one line of JSON out.

A side imports only what it measures with, so that a peer's runs in the peer's own
environment, and it times itself after its imports.
"""
