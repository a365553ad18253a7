"""Text: a small encoder, rank-decomposed adapters of it, and sentences to learn."""
