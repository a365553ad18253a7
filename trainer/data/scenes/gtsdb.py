"""GTSDB: German traffic signs in photographs from the road, as the paper's kinds.

Source:
    Houben, Stallkamp, Salmen, Schlipsing, Igel, "Detection of Traffic Signs in
    Real-World Images: The German Traffic Sign Detection Benchmark", IJCNN 2013.
"""

from pathlib import Path

from trainer.data.dataset import Split
from trainer.data.decoding import Box
from trainer.data.folders import Download, names_in
from trainer.data.gtsrb import CLASSES, KIND_OF, KINDS
from trainer.data.scenes.dataset import Marked, Marking, SceneSet
from trainer.data.tables import read_list, table

LIST = "gt.txt"
COLUMNS = ("file", "left", "top", "right", "bottom", "class")
"""Of a list that has no header."""
SUFFIXES = (".jpg", ".png", ".ppm")

Sign = tuple[int, Box]


def marks(data: bytes, *, what: str) -> dict[str, list[Sign]]:
    """Return file name -> its signs of the paper's kinds; other signs are background.

    Args:
        data: lines ``file;left;top;right;bottom;class``, a class of GTSRB.
        what: how the list is called in messages.

    Raises:
        LocalError: a line is not that, or a box has no area.
    """
    found: dict[str, list[Sign]] = {}
    for line in table(data, what=what, columns=COLUMNS, header=False):
        left, top, right, bottom = (line.whole(at) for at in range(1, 5))
        class_ = line.whole(5)
        if class_ >= CLASSES:
            line.refuse(f"expected a class below {CLASSES}, found {class_}")
        if not (left < right and top < bottom):
            line.refuse("expected a box of left, top, right, bottom with an area")
        signs = found.setdefault(line.name(0), [])
        if class_ in KIND_OF:
            signs.append((KIND_OF[class_], Box(left, top, right, bottom)))
    return found


def _marking(folder: Path, split: Split) -> Marking:
    path = folder / split / LIST
    found = marks(read_list(path), what=str(path))
    pictures = {n for n in names_in(folder / split) if n.endswith(SUFFIXES)}
    return Marking(
        scenes=[
            Marked(path=f"{split}/{name}", signs=found.get(name, []))
            for name in sorted(pictures | set(found))
        ],
        lists=[f"{split}/{LIST}"],
    )


GTSDB = SceneSet(
    name="gtsdb",
    download=Download(
        folder="gtsdb",
        layout=(
            "train/gt.txt and test/gt.txt, each with its photographs beside it (lines "
            "file;left;top;right;bottom;class)"
        ),
        page="https://benchmark.ini.rub.de/gtsdb_dataset.html",
    ),
    kinds=KINDS,
    marking=_marking,
)
