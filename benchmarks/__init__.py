"""Benchmarks: one module per claim, each with a peer measured in the same run.

``python -m benchmarks NAME`` prints JSON and writes it to ``bench-results/``. Sides
take turns within one run, so that a noise of the machine meets them alike; what counts
is the ratio within a round. No test reads a clock.
"""
