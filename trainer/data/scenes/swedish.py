"""Swedish Traffic Signs: the signs that the paper's student reads, in photographs.

Who has the set can read it here; the experiments do without.

Source:
    Larsson, Felsberg, "Using Fourier Descriptors and Spatial Models for Traffic Sign
    Recognition", SCIA 2011.
"""

from collections.abc import Iterator
from pathlib import Path

from trainer.data.belgiumtsc import KINDS
from trainer.data.dataset import Split
from trainer.data.decoding import Box
from trainer.data.folders import Download
from trainer.data.scenes.dataset import Marked, Marking, SceneSet, clipped
from trainer.data.tables import Line, lines, read_list

LIST = "annotations.txt"
FOLDERS = {"train": "Set1", "test": "Set2"}
WIDTH, HEIGHT = 1280, 960
"""Pixels of every photograph of the set."""

UNMARKED = "MISC_SIGNS"
"""Stands where signs are that nobody marked."""
UNREADABLE = "UNREADABLE"
FIELDS = 7
"""Visibility, right, bottom, left, top, category, sign."""


def marked(where: str, text: str) -> Marked:
    """Return what one line says of its photograph.

    Signs may lie partly or wholly outside it: what is outside is cut off. Those of no
    readable category are background.

    Args:
        where: the file and the line's number, for messages.
        text: ``NAME:VISIBILITY, right, bottom, left, top, CATEGORY, SIGN;...;``

    Raises:
        LocalError: it is not that.
    """
    name, colon, marks = text.partition(":")
    line = Line(where=where, fields=(name,))
    if not colon:
        line.refuse(f"expected NAME: and its signs, found {text[:40]!a}")
    signs = [
        (label, inside)
        for label, box in _signs(where, marks)
        if (inside := clipped(box, width=WIDTH, height=HEIGHT)) is not None
    ]
    return Marked(path=line.name(0), signs=signs)


def _signs(where: str, marks: str) -> Iterator[tuple[int, Box]]:
    for mark in marks.split(";"):
        if mark.strip() in ("", UNMARKED):
            continue
        line = Line(where=where, fields=tuple(it.strip() for it in mark.split(",")))
        if len(line.fields) != FIELDS:
            line.refuse(f"expected {FIELDS} fields of a sign, found {mark[:80]!a}")
        category = line.fields[5].lower()
        right, bottom, left, top = (line.number(at) for at in range(1, 5))
        if not (left < right and top < bottom):
            line.refuse(f"expected lower right, then upper left, found {mark[:80]!a}")
        if category in KINDS:
            yield KINDS.index(category), Box(left, top, right, bottom)
        elif category != UNREADABLE.lower():
            known = ", ".join(kind.upper() for kind in KINDS)
            line.refuse(f"expected a category, one of {known}, found {category[:40]!a}")


def marks_of(data: bytes, *, what: str) -> list[Marked]:
    """Return what a whole list says, its photographs in their order.

    Raises:
        LocalError: a line is malformed.
    """
    return [marked(where, text) for where, text in lines(data, what=what)]


def _marking(folder: Path, split: Split) -> Marking:
    top = FOLDERS[split]
    path = folder / top / LIST
    found = marks_of(read_list(path), what=str(path))
    scenes = [Marked(path=f"{top}/{it.path}", signs=it.signs) for it in found]
    return Marking(scenes=scenes, lists=[f"{top}/{LIST}"])


SWEDISH = SceneSet(
    name="swedish",
    download=Download(
        folder="swedish",
        layout=f"Set1/{LIST} and Set2/{LIST}, each with its photographs beside it",
        page="https://www.cvl.isy.liu.se/research/datasets/traffic-signs-dataset/",
    ),
    kinds=KINDS,
    marking=_marking,
)
