"""LISA: the paper's own U.S. signs in photographs from the road.

Who has the set can read it here; the experiments do without.

Source:
    Møgelmose, Trivedi, Moeslund, "Vision-Based Traffic Sign Detection and Analysis for
    Intelligent Driver Assistance Systems", IEEE T-ITS 13(4), 2012.
"""

from pathlib import Path

from model_zoo.digests import sha256_bytes
from trainer.data.dataset import Split
from trainer.data.decoding import Box
from trainer.data.folders import Download
from trainer.data.gtsrb import KINDS, SPEED_LIMIT, STOP, WARNING
from trainer.data.scenes.dataset import Marked, Marking, SceneSet
from trainer.data.tables import Line, read_list, table

LIST = "allAnnotations.csv"
COLUMNS = (
    "Filename", "Annotation tag", "Upper left corner X", "Upper left corner Y",
    "Lower right corner X", "Lower right corner Y", "Occluded,On another road",
    "Origin file", "Origin frame number", "Origin track", "Origin track frame number",
)  # fmt: skip

LIMITS = ("speedLimit", "schoolSpeedLimit", "truckSpeedLimit")
"""How the tags of speed limits begin; a number of miles an hour follows."""
WARNINGS = frozenset(
    (
        "addedLane", "curveLeft", "curveRight", "dip", "intersection", "laneEnds",
        "merge", "pedestrianCrossing", "roundabout", "school", "signalAhead", "slow",
        "speedBumpsAhead", "stopAhead", "thruMergeLeft", "thruMergeRight",
        "thruTrafficMergeLeft", "turnLeft", "turnRight", "yieldAhead",
    )
)  # fmt: skip
YELLOW = ("rampSpeedAdvisory", "zoneAhead")
"""How the tags of warnings that tell a speed begin."""

TEST_EVERY = 5
"""There is no official split: one track in five is the test set, by its digest, so that
no sign is in both."""


def kind_of(tag: str) -> int | None:
    """Return the paper's kind of a sign; None for those that are background."""
    if tag == "stop":
        return STOP
    if tag.startswith(LIMITS):
        return SPEED_LIMIT
    return WARNING if tag in WARNINGS or tag.startswith(YELLOW) else None


def is_tested(track: str) -> bool:
    """Whether the frames of a track belong to the test set."""
    return int(sha256_bytes(track.encode()), 16) % TEST_EVERY == 0


def marks(data: bytes, *, what: str, split: Split) -> list[Marked]:
    """Return the photographs of one split and their signs, by path.

    Args:
        data: the whole list.
        what: how it is called in messages.
        split: which.

    Raises:
        LocalError: another header, a malformed line, or a box without an area.
    """
    found: dict[str, list[tuple[int, Box]]] = {}
    for line in table(data, what=what, columns=COLUMNS):
        kind, box, path = kind_of(line.fields[1]), _box(line), line.path(0)
        if is_tested(line.fields[9]) != (split == "test"):
            continue
        signs = found.setdefault(path, [])
        if kind is not None:
            signs.append((kind, box))
    return [Marked(path=path, signs=found[path]) for path in sorted(found)]


def _box(line: Line) -> Box:
    left, top, right, bottom = (line.whole(at) for at in range(2, 6))
    if not (left < right and top < bottom):
        line.refuse("expected a box of upper left and lower right corner with an area")
    return Box(left, top, right, bottom)


def _marking(folder: Path, split: Split) -> Marking:
    path = folder / LIST
    return Marking(
        scenes=marks(read_list(path), what=str(path), split=split), lists=[LIST]
    )


LISA = SceneSet(
    name="lisa",
    download=Download(
        folder="lisa",
        layout=f"{LIST} with the folders of frames that it names beside it",
        page="http://cvrr.ucsd.edu/LISA/lisa-traffic-sign-dataset.html",
    ),
    kinds=KINDS,
    marking=_marking,
)
