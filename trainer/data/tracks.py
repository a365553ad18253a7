"""Tracks: the frames of one drive past one sign, nearly the same picture each.

A validation set that shares a track with the training set measures memory. So whole
tracks are held out, and the order in which a split lists them decides which.
"""

from collections import defaultdict
from collections.abc import Sequence

from model_zoo.digests import sha256_bytes
from trainer.data.listings import Listed

TRACKS_A_CLASS = 100_000
"""A track's number has five digits; a group is the class times this, plus that."""


def group_of(label: int, track: int) -> int:
    """Return the number of a track among those of all classes."""
    return label * TRACKS_A_CLASS + track


def spread(images: Sequence[Listed]) -> list[Listed]:
    """Return ``images`` track by track, every class spread evenly over the whole.

    However many come last, they are whole tracks but for one, and each class has about
    the same share of its tracks among them as every other. Within a class, tracks come
    in the order of the SHA-256 of their group's number in decimal digits: the same on
    every machine, and nothing to do with how they were recorded.
    """
    tracks: defaultdict[int, list[Listed]] = defaultdict(list)
    for image in images:
        tracks[image.group or 0].append(image)
    classes: defaultdict[int, list[int]] = defaultdict(list)
    for group in sorted(tracks, key=_drawn):
        classes[group // TRACKS_A_CLASS].append(group)
    places = {
        group: ((rank + 0.5) / len(groups), _drawn(group))
        for groups in classes.values()
        for rank, group in enumerate(groups)
    }
    return [
        image
        for group in sorted(tracks, key=places.__getitem__)
        for image in sorted(tracks[group], key=lambda image: image.path)
    ]


def _drawn(group: int) -> str:
    return sha256_bytes(str(group).encode())
