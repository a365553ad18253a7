"""Measures models: accuracy, attack success, intervals, acceptance."""
