"""Judges lists of models to download: what would a client have to believe?"""
