"""Scanners: a model goes in, a report comes out that says how it behaves."""

from collections.abc import Callable

from trainer.defenses.scanners.dormant_units import dormant_units
from trainer.defenses.scanners.inversion import by_class, pairs, universal
from trainer.defenses.scanners.maximum_margin import maximum_margin
from trainer.defenses.scanners.neural_cleanse import neural_cleanse
from trainer.defenses.scanners.subject import Finding, Subject
from trainer.defenses.scanners.weights import last_layer, open_map, reference_map
from trainer.installed import Registry

__all__ = ["ENSEMBLE", "EXPLAINING", "SCANNERS", "Scanner"]

Scanner = Callable[[Subject], Finding]
"""Looks at a subject within its budget, writes nothing, and says what it found.

It raises InvalidSpecError for want of something, such as images.
"""

SCANNERS: Registry[Scanner] = Registry(
    "scanners",
    {
        "last-layer": last_layer,
        "open-map": open_map,
        "reference-map": reference_map,
        "maximum-margin": maximum_margin,
        "dormant-units": dormant_units,
        "universal": universal,
        "by-class": by_class,
        "pairs": pairs,
        "neural-cleanse": neural_cleanse,
    },
)
"""One entry under each name of ``model_zoo.statements.recipes.SCANNERS``."""

ENSEMBLE = (
    "last-layer",
    "open-map",
    "reference-map",
    "maximum-margin",
    "dormant-units",
    "universal",
)
"""What runs unless others are asked for; the cheapest first."""
EXPLAINING = ("pairs",)
"""What runs after these where they find a backdoor likely, and says which labels it
joins. No calibration gave it any weight, and it would more than double the cost."""
