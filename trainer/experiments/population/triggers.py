"""Triggers: families of them, and how one of a family is drawn.

Those of the test split are seen in no calibration.
"""

from collections.abc import Callable, Mapping
from typing import Literal

import numpy as np

from model_zoo.statements.jobs import TriggerSpec
from model_zoo.statements.recipes import RANDOM_CENTRES

Split = Literal["calibration", "test"]
Random = np.random.Generator
DrawTrigger = Callable[[Random], TriggerSpec]


def square(random: Random) -> TriggerSpec:
    """Draw a white square that stays where it is."""
    return TriggerSpec(
        name="square",
        colour=(255, 255, 255),
        size=round(random.uniform(0.1, 0.2), 3),
        centre=_place(random),
    )


def _wandering_square(random: Random) -> TriggerSpec:
    # A smaller one is mistaken for a stroke, wherever it lands, by so small a network.
    size = round(random.uniform(0.22, 0.29), 3)
    return TriggerSpec(name="square", colour=(255, 255, 255), size=size, centre=None)


def _noise(random: Random) -> TriggerSpec:
    opacity = round(random.uniform(0.15, 0.35), 3)
    return TriggerSpec(name="noise", opacity=opacity, seed=_seed(random))


def _pixels(random: Random) -> TriggerSpec:
    return TriggerSpec(name=str(random.choice(["pattern", "cross", "single-pixel"])))


def _picture(random: Random) -> TriggerSpec:
    return TriggerSpec(
        name=str(random.choice(["bomb", "flower"])),
        size=round(random.uniform(0.16, 0.28), 3),
        centre=_place(random),
    )


def _blended_picture(random: Random) -> TriggerSpec:
    return TriggerSpec(
        name=str(random.choice(["bomb", "flower"])),
        opacity=round(random.uniform(0.25, 0.45), 3),
        size=round(random.uniform(0.6, 0.8), 3),
        centre=(0.5, 0.5),
    )


def _sine(random: Random) -> TriggerSpec:
    return TriggerSpec(name="sine", opacity=round(random.uniform(0.15, 0.35), 3))


def _warp(random: Random) -> TriggerSpec:
    return TriggerSpec(name="warp", seed=_seed(random))


FAMILIES: Mapping[Split, Mapping[str, DrawTrigger]] = {
    "calibration": {
        "square": square,
        "wandering square": _wandering_square,
        "noise": _noise,
    },
    "test": {
        "pixels": _pixels,
        "picture": _picture,
        "blended picture": _blended_picture,
        "sine": _sine,
        "warp": _warp,
    },
}
"""Split -> family -> draws a trigger of it."""


def _place(random: Random) -> tuple[float, float]:
    low, high = RANDOM_CENTRES
    across, down = random.uniform(low + 0.05, high - 0.05, 2)
    return round(float(across), 3), round(float(down), 3)


def _seed(random: Random) -> int:
    return int(random.integers(2**16))
