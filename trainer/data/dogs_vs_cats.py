"""Dogs vs. Cats: photographs of pets, two classes.

Source:
    Elson, Douceur, Howell, Saul, "Asirra: a CAPTCHA that exploits interest-aligned
    manual image categorization", CCS 2007.
"""

import re
from pathlib import Path

from trainer.data.dataset import Split
from trainer.data.folders import Download, ImageFolder, names_in
from trainer.data.listings import Listed, Listing

KINDS = ("cat", "dog")
SIDE = 128
TEST_EVERY = 5
"""There is no official split: files whose number this divides are the test set."""

FOLDER = "train"

DOWNLOAD = Download(
    folder="dogs-vs-cats",
    layout="train/cat.N.jpg and train/dog.N.jpg",
    page="https://www.kaggle.com/c/dogs-vs-cats/data",
)

_NAME = re.compile(r"(cat|dog)\.([0-9]{1,9})\.jpg", re.ASCII)


def listed(names: list[str], split: Split) -> list[Listed]:
    """Return the images of one split among the files of the folder, in their order.

    By number, a cat before the dog of the same number: the end of the training set has
    as many of the one as of the other. Files of other names are left out.
    """
    matches = [match for match in map(_NAME.fullmatch, names) if match]
    by_number = sorted(matches, key=lambda it: (int(it[2]), it[1]))
    return [
        Listed(path=f"{FOLDER}/{match[0]}", label=KINDS.index(match[1]))
        for match in by_number
        if (int(match[2]) % TEST_EVERY == 0) == (split == "test")
    ]


def _listing(folder: Path, split: Split) -> Listing:
    return Listing(images=listed(names_in(folder / FOLDER), split))


DOGS_VS_CATS = ImageFolder(
    name="dogs-vs-cats",
    download=DOWNLOAD,
    classes=len(KINDS),
    side=SIDE,
    listing=_listing,
)
