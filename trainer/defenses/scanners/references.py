"""References: clean networks of one architecture, to compare the weights of another to.

What they have in common, and how they differ from each other, is kept; the networks are
not. A network is strange where it differs in a way in which no clean one differed: by
its training, of which a backdoor is one kind.
"""

import base64
import binascii
from collections.abc import Sequence
from typing import Annotated, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from model_zoo.documents import Document

COMPONENTS = 8
"""Directions in which clean networks differ most: being far out there is no news."""
SHRINKAGE = 0.1
"""Share of the median variance that every value gets: some are nearly constant over the
references, and would make an outlier of anybody."""
PEAKS = 12
"""Values of one label whose mean is its strangeness: a small trigger's."""
MOST_VALUES = 1_000_000
LEAST_SPREAD = 1e-3
"""Of values whose root mean square is 1: half-precision numbers tell no less apart."""
_TINY = 1e-12
_STORED = np.dtype("<f2")

Numbers = NDArray[np.float64]
Packed = Annotated[str, Field(max_length=4 * MOST_VALUES)]


class View(Document):
    """Clean maps after one normalisation; arrays as ``packed`` writes them.

    Attributes:
        centre: (labels, values), their mean.
        spread: (labels, values), their standard deviation, shrunk.
        components: (K, labels, values), orthonormal, of standardised maps.
    """

    centre: Packed
    spread: Packed
    components: Packed

    def z(self, scaled: Numbers) -> Numbers:
        """Return (labels, values): how unlike the references ``scaled`` is."""
        shape = scaled.shape
        centre, spread = unpacked(self.centre, shape), unpacked(self.spread, shape)
        components = unpacked(self.components, (-1, scaled.size))
        flat = ((scaled - centre) / spread).ravel()
        return (flat - components.T @ (components @ flat)).reshape(shape)


class References(Document):
    """What clean networks of one architecture have in common.

    Attributes:
        labels: of the network.
        values: of a map, for each label.
        networks: how many there were.
        by_network: maps divided by the root mean square of the whole.
        by_label: maps divided by that of each label.
    """

    labels: Annotated[int, Field(ge=1)]
    values: Annotated[int, Field(ge=PEAKS)]
    networks: Annotated[int, Field(ge=2)]
    by_network: View
    by_label: View

    @model_validator(mode="after")
    def _is_whole(self) -> Self:
        for view in (self.by_network, self.by_label):
            for text in (view.centre, view.spread):
                unpacked(text, self.shape)
            unpacked(view.components, (-1, self.labels * self.values))
        return self

    @property
    def shape(self) -> tuple[int, int]:
        """Labels and values."""
        return self.labels, self.values

    def strangeness(self, rows: Numbers) -> tuple[dict[str, float], int]:
        """Return features of a network, and the label that is strangest.

        Args:
            rows: (labels, values), its open map.
        """
        whole = self.by_network.z(_scaled(rows, axes=(0, 1)))
        single = self.by_label.z(_scaled(rows, axes=(1,)))
        peaks = _peaks(whole)
        features = {
            "strange-peaks": float(peaks.max()),
            "strange-peaks-of-label": float(_peaks(single).max()),
            "strange-rms": float(np.sqrt(np.square(whole).mean())),
        }
        return features, int(peaks.argmax())


def references_of(maps: Sequence[Numbers]) -> References:
    """Return the references that clean networks give.

    Args:
        maps: of each, (labels, values): its open map.

    Raises:
        ValueError: there are fewer than two.
    """
    stacked = np.stack(maps) if maps else np.empty((0, 0, 0))
    if len(stacked) < 2:  # noqa: PLR2004  one has no spread
        msg = f"expected at least 2 clean networks, found {len(stacked)}"
        raise ValueError(msg)
    return References(
        labels=stacked.shape[1],
        values=stacked.shape[2],
        networks=len(stacked),
        by_network=_view(_scaled(stacked, axes=(1, 2))),
        by_label=_view(_scaled(stacked, axes=(2,))),
    )


def packed(values: Numbers) -> str:
    """Return ``values`` as base64 of little-endian half-precision numbers."""
    return base64.b64encode(values.astype(_STORED).tobytes()).decode("ascii")


def unpacked(text: str, shape: tuple[int, ...]) -> Numbers:
    """Return what ``packed`` was given.

    Args:
        text: from ``packed``.
        shape: of the array; -1 for one size that follows from the others.

    Raises:
        ValueError: it is no such text, of another size, or not finite.
    """
    try:
        stored = np.frombuffer(base64.b64decode(text, validate=True), dtype=_STORED)
    except binascii.Error as error:
        msg = f"an array of half-precision numbers in base64 was expected: {error}"
        raise ValueError(msg) from error
    values: Numbers = stored.astype(float).reshape(shape)
    if not np.isfinite(values).all():
        msg = "an array of finite numbers was expected"
        raise ValueError(msg)
    return values


def _view(scaled: Numbers) -> View:
    """Return one view of (N, labels, values) scaled maps."""
    centre, deviation = scaled.mean(axis=0), scaled.std(axis=0)
    floor = np.median(np.square(deviation)) * SHRINKAGE
    spread = np.maximum(np.sqrt(np.square(deviation) + floor), LEAST_SPREAD)
    rows = ((scaled - centre) / spread).reshape(len(scaled), -1)
    # N x N, which is smaller than values x values and has the same eigenvalues
    values, vectors = np.linalg.eigh(rows @ rows.T)
    # one direction fewer than networks: the mean was taken from them
    kept = slice(-min(COMPONENTS, len(scaled) - 1), None)
    scale = np.sqrt(np.maximum(values[kept], _TINY))
    components = (rows.T @ vectors[:, kept] / scale).T
    return View(
        centre=packed(centre), spread=packed(spread), components=packed(components)
    )


def _scaled(maps: Numbers, *, axes: tuple[int, ...]) -> Numbers:
    rms = np.sqrt(np.square(maps).mean(axis=axes, keepdims=True))
    scaled: Numbers = maps / np.maximum(rms, _TINY)
    return scaled


def _peaks(z: Numbers) -> Numbers:
    """Return (labels,): the mean of each label's largest values."""
    peaks: Numbers = np.sort(np.abs(z), axis=1)[:, -PEAKS:].mean(axis=1)
    return peaks
