"""The parts of the benchmark ``trust``: what a repository costs as it grows."""
