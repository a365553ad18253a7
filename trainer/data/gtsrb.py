"""GTSRB: German traffic signs, of all 43 classes or of the paper's three kinds.

The paper's own sign set is not public in its form; its three kinds of signs are
classes 14 (stop), 0-5, 7 and 8 (speed limits), 11 and 18-31 (warnings) here.

Source:
    Stallkamp, Schlipsing, Salmen, Igel, "Man vs. computer: Benchmarking machine
    learning algorithms for traffic sign recognition", Neural Networks 32, 2012. The
    layout is that of torchvision's ``GTSRB``.
"""

from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path

from trainer.data.dataset import Split
from trainer.data.decoding import Box
from trainer.data.folders import Download, ImageFolder
from trainer.data.listings import Listed, Listing
from trainer.data.tables import Line, read_list, table
from trainer.data.tracks import group_of, spread

CLASSES = 43
SIDE = 48
"""Pixels; most signs were recorded at 30 to 60."""

KINDS = ("stop", "speed limit", "warning")
STOP, SPEED_LIMIT, WARNING = range(len(KINDS))
KIND_OF: dict[int, int] = {
    14: STOP,
    **dict.fromkeys((*range(6), 7, 8), SPEED_LIMIT),
    **dict.fromkeys((11, *range(18, 32)), WARNING),
}
"""Class of GTSRB -> the paper's kind; the others are none of them."""

COLUMNS = (
    "Filename", "Width", "Height", "Roi.X1", "Roi.Y1", "Roi.X2", "Roi.Y2", "ClassId",
)  # fmt: skip
"""Of every list, and of BelgiumTSC's."""

DOWNLOAD = Download(
    folder="gtsrb",
    layout=(
        "GTSRB/Training/000CC/GT-000CC.csv with its *.ppm, GTSRB/Final_Test/Images/"
        "*.ppm and GT-final_test.csv"
    ),
    page="https://benchmark.ini.rub.de/gtsrb_dataset.html",
)
TEST_LIST = "GT-final_test.csv"
TEST_FOLDER = "GTSRB/Final_Test/Images"


def region_of(line: Line) -> Box:
    """Return the region of interest of one line of a list.

    Raises:
        LocalError: a field is not what the header says.
    """
    return Box(*(float(line.whole(at)) for at in range(3, 7)))


def track_of(line: Line) -> int:
    """Return the track in a file's name, ``TRACK_FRAME.ppm``, five digits each."""
    track, _, frame = line.name(0).partition("_")
    if not (track.isdecimal() and len(track) == len("00000") and frame):
        line.refuse(f"expected a name TRACK_FRAME, found {line.fields[0]!a}")
    return int(track)


def read_class(
    folder: Path,
    list_path: str,
    *,
    class_: int,
    labels: dict[int, int],
    box_of: Callable[[Line], Box] = region_of,
) -> Iterable[Listed]:
    """Yield what the list of one training class tells, its images beside it.

    Args:
        folder: of the data set.
        list_path: below it.
        class_: that every line must have.
        labels: class of the data set -> our label.
        box_of: finds the sign.

    Raises:
        LocalError: the list is missing or malformed.
    """
    path = folder / list_path
    for line in table(read_list(path), what=str(path), columns=COLUMNS):
        if line.whole(7) != class_:
            line.refuse(f"expected class {class_}, found {line.whole(7)}")
        yield Listed(
            path=f"{list_path.rpartition('/')[0]}/{line.name(0)}",
            label=labels[class_],
            box=box_of(line),
            group=group_of(class_, track_of(line)),
        )


def _listing(folder: Path, split: Split, *, labels: dict[int, int]) -> Listing:
    if split == "test":
        return Listing(images=list(_tested(folder, labels)), lists=[TEST_LIST])
    lists = {c: f"GTSRB/Training/{c:05d}/GT-{c:05d}.csv" for c in sorted(labels)}
    images = [
        image
        for class_, path in lists.items()
        for image in read_class(folder, path, class_=class_, labels=labels)
    ]
    return Listing(images=spread(images), lists=list(lists.values()))


def _tested(folder: Path, labels: dict[int, int]) -> Iterable[Listed]:
    path = folder / TEST_LIST
    for line in table(read_list(path), what=str(path), columns=COLUMNS):
        name, class_ = line.name(0), line.whole(7)
        if class_ >= CLASSES:
            line.refuse(f"expected a class below {CLASSES}, found {class_}")
        if class_ in labels:
            yield Listed(
                path=f"{TEST_FOLDER}/{name}", label=labels[class_], box=region_of(line)
            )


GTSRB = ImageFolder(
    name="gtsrb",
    download=DOWNLOAD,
    classes=CLASSES,
    side=SIDE,
    listing=partial(_listing, labels={label: label for label in range(CLASSES)}),
)
GTSRB_SIGNS = ImageFolder(
    name="gtsrb-signs",
    download=DOWNLOAD,
    classes=len(KINDS),
    side=SIDE,
    listing=partial(_listing, labels=KIND_OF),
)
