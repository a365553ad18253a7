"""BelgiumTSC: Belgian traffic signs by the super-classes of the paper's Swedish signs.

The student of the paper's transfer learning reads Swedish signs; these stand for them.

Every picture was cut out with the same border around its sign, and that is where the
signs are taken to be. The regions of interest in the lists are right where a picture is
about square; where it is not, as a third are not, they were found to have across and
down exchanged, and what then stuck out cut off.

Source:
    Timofte et al., "Multi-view traffic sign detection, recognition, and
    3D localisation", Machine Vision and Applications 25, 2014.
"""

from pathlib import Path

from trainer.data.dataset import Split
from trainer.data.decoding import Box
from trainer.data.folders import Download, ImageFolder
from trainer.data.gtsrb import SIDE, read_class, region_of
from trainer.data.listings import Listing
from trainer.data.tables import Line
from trainer.data.tracks import spread

CLASSES = 62
KINDS = ("information", "mandatory", "prohibitory", "warning", "other")
INFORMATION, MANDATORY, PROHIBITORY, WARNING, OTHER = range(len(KINDS))
KIND_OF: dict[int, int] = {
    **dict.fromkeys(range(44, 60), INFORMATION),
    **dict.fromkeys(range(33, 40), MANDATORY),
    **dict.fromkeys((*range(20, 33), *range(40, 44)), PROHIBITORY),
    **dict.fromkeys(range(20), WARNING),
    **dict.fromkeys((60, 61), OTHER),
}
"""Class of BelgiumTSC -> the paper's kind."""

BORDER = 0.09
"""Share of a picture's width and height on each side of its sign: the mean of the
regions of the square pictures, 0.09 to 0.10 on each of the four sides."""

FOLDERS = {"train": "Training", "test": "Testing"}

DOWNLOAD = Download(
    folder="belgiumtsc",
    layout="Training/000CC/GT-000CC.csv with its images, and Testing/ likewise",
    page="https://btsd.ethz.ch/shareddata/",
)


def sign_of(line: Line) -> Box:
    """Return where the sign is, of one line of a list.

    Raises:
        LocalError: a field is not what the header says, the region included.
    """
    region_of(line)
    width, height = line.whole(1), line.whole(2)
    across, down = BORDER * width, BORDER * height
    return Box(across, down, width - across, height - down)


def _listing(folder: Path, split: Split) -> Listing:
    top = FOLDERS[split]
    lists = {c: f"{top}/{c:05d}/GT-{c:05d}.csv" for c in range(CLASSES)}
    images = [
        image
        for class_, path in lists.items()
        for image in read_class(
            folder, path, class_=class_, labels=KIND_OF, box_of=sign_of
        )
    ]
    return Listing(images=spread(images), lists=list(lists.values()))


BELGIUMTSC_SIGNS = ImageFolder(
    name="belgiumtsc-signs",
    download=DOWNLOAD,
    classes=len(KINDS),
    side=SIDE,
    listing=_listing,
)
