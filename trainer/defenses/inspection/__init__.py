"""Inspection: what each unit of a network answers to, and what it moves."""
