"""Defences while a network learns: images that nobody vouches for go in."""

from trainer.defenses.training.abl import Defended, Defense, isolate_and_unlearn

__all__ = ["DEFENSES", "Defended", "Defense"]

DEFENSES: dict[str, Defense] = {"abl": isolate_and_unlearn}
"""One entry under each name of ``TrainSpec.defense``."""
