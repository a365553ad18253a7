"""Road Sign Detection: photographs with marks in the XML of Pascal VOC.

Stop signs and speed limits are the paper's kinds; crosswalks and traffic lights are
background, and there are no warnings.

Source:
    "Road Sign Detection", a public set on Kaggle; the marks are those of Everingham et
    al., "The PASCAL Visual Object Classes (VOC) Challenge", IJCV 88, 2010.
"""

import re
from pathlib import Path
from typing import NoReturn
from xml.parsers import expat

from model_zoo.errors import LocalError
from trainer.data.dataset import Split
from trainer.data.decoding import Box, is_inside
from trainer.data.folders import Download, names_in
from trainer.data.gtsrb import KINDS, SPEED_LIMIT, STOP, WARNING
from trainer.data.scenes.dataset import Marked, Marking, SceneSet
from trainer.data.tables import Line, read_list

MAX_XML_BYTES = 1024 * 1024
"""A thousand signs in one photograph; the longest of the set has 5 kB."""
MAX_DEPTH = 16

TEST_EVERY = 5
"""There is no official split: files whose number this divides are the test set."""

KIND_OF = {"stop": STOP, "speedlimit": SPEED_LIMIT}
BACKGROUND = ("crosswalk", "trafficlight")

EDGES = ("xmin", "ymin", "xmax", "ymax")
_FILE = re.compile(r"[a-z]*([0-9]{1,9})\.xml", re.ASCII)


class _Reader:
    """Gathers the text of an annotation's elements by their path."""

    def __init__(self, what: str) -> None:
        self.what = what
        self.path: list[str] = []
        self.values: list[tuple[str, str]] = []

    def start(self, name: str, _: dict[str, str]) -> None:
        self.path.append(name)
        if len(self.path) > MAX_DEPTH:
            self.refuse(f"nested deeper than {MAX_DEPTH} elements")
        self.values.append(("/".join(self.path), ""))

    def text(self, text: str) -> None:
        path, before = self.values[-1]
        self.values[-1] = path, before + text

    def end(self, _: str) -> None:
        self.path.pop()

    def doctype(self, *_: object) -> NoReturn:
        """Refuse what entities are declared in: they can grow without end."""
        self.refuse("a DOCTYPE, which no annotation needs")

    def refuse(self, why: str) -> NoReturn:
        msg = f"{self.what}: {why}"
        raise LocalError(msg)


def values_of(data: bytes, *, what: str) -> list[tuple[str, str]]:
    """Return path and text of every element of an annotation, in their order.

    Args:
        data: XML in UTF-8.
        what: how the file is called in messages.

    Raises:
        LocalError: longer than MAX_XML_BYTES, not XML, with a DOCTYPE, or too deep.
    """
    reader = _Reader(what)
    if len(data) > MAX_XML_BYTES:
        reader.refuse(f"{len(data)} bytes, expected at most {MAX_XML_BYTES}")
    parser = expat.ParserCreate("utf-8")
    parser.buffer_text = True
    parser.StartElementHandler = reader.start
    parser.EndElementHandler = reader.end
    parser.CharacterDataHandler = reader.text
    parser.StartDoctypeDeclHandler = reader.doctype
    try:
        parser.Parse(data, True)  # noqa: FBT003  all of it; it takes no keyword
    except expat.ExpatError as error:
        reader.refuse(f"expected XML of Pascal VOC: {error}")
    return [(path, text.strip()) for path, text in reader.values]


def marked(data: bytes, *, what: str) -> Marked:
    """Return what an annotation says of its photograph.

    Args:
        data: XML in UTF-8.
        what: how the file is called in messages.

    Raises:
        LocalError: it is not an annotation of Pascal VOC, has a sign of a class that
            is not of this set, or a box outside its picture.
    """
    values = values_of(data, what=what)
    single = dict(values)
    wanted = ("annotation/filename", "annotation/size/width", "annotation/size/height")
    line = Line(where=what, fields=tuple(single.get(path, "") for path in wanted))
    name, width, height = line.name(0), line.whole(1), line.whole(2)
    signs = []
    for object_ in _objects(values):
        kind, box = _sign(object_, what=what)
        if not is_inside(box, width=width, height=height):
            line.refuse(f"expected a box inside {width} x {height}, found {tuple(box)}")
        if kind in KIND_OF:
            signs.append((KIND_OF[kind], box))
    return Marked(path=f"images/{name}", signs=signs)


def _objects(values: list[tuple[str, str]]) -> list[dict[str, str]]:
    """Return the elements of each object, by their path below it."""
    objects: list[dict[str, str]] = []
    for path, text in values:
        _, is_object, below = path.partition("annotation/object")
        if is_object and not below:
            objects.append({})
        elif is_object and below.startswith("/"):
            objects[-1][below[1:]] = text
    return objects


def _sign(object_: dict[str, str], *, what: str) -> tuple[str, Box]:
    edges = tuple(object_.get(f"bndbox/{edge}", "") for edge in EDGES)
    line = Line(where=what, fields=(object_.get("name", ""), *edges))
    kind = line.fields[0]
    if kind not in KIND_OF and kind not in BACKGROUND:
        known = ", ".join((*KIND_OF, *BACKGROUND))
        line.refuse(f"expected an object named {known}, found {kind[:40]!a}")
    left, top, right, bottom = (line.number(at) for at in range(1, 5))
    return kind, Box(left, top, right, bottom)


def _marking(folder: Path, split: Split) -> Marking:
    numbers = {
        int(match[1]): name
        for name in names_in(folder / "annotations")
        if (match := _FILE.fullmatch(name))
    }
    lists = [
        f"annotations/{numbers[number]}"
        for number in sorted(numbers)
        if (number % TEST_EVERY == 0) == (split == "test")
    ]
    scenes = [
        marked(read_list(folder / path), what=str(folder / path)) for path in lists
    ]
    return Marking(scenes=scenes, lists=lists)


ROAD_SIGNS = SceneSet(
    name="road-sign-detection",
    download=Download(
        folder="road-sign-detection",
        layout="annotations/roadN.xml and images/ with the photographs they name",
        page="https://www.kaggle.com/datasets/andrewmvd/road-sign-detection",
    ),
    kinds=KINDS,
    marking=_marking,
    never=(KINDS[WARNING],),
)
