"""What the lists of a data set say: which files, and what is in each."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from model_zoo.errors import LocalError
from model_zoo.files import translate_os_errors
from trainer.data.dataset import Split
from trainer.data.decoding import Box


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    """One image file, and what its data set says of it.

    Attributes:
        path: below the folder of the data set, parts joined by slashes.
        label: in [0, classes).
        box: where the object is; None where the image is the object.
        group: equal for images of one thing; None where each is of another.
    """

    path: str
    label: int
    box: Box | None = None
    group: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """One split.

    Attributes:
        images: in the order in which the split is read.
        lists: the files that said so, as paths below the folder.
    """

    images: Sequence[Listed]
    lists: Sequence[str] = ()

    @property
    def paths(self) -> list[str]:
        """All that is read: the lists and the images."""
        return [*self.lists, *(image.path for image in self.images)]


ReadListing = Callable[[Path, Split], Listing]
"""Reads the lists below a folder; a LocalError says what is wrong with them."""


def by_class(*names: str) -> ReadListing:
    """Return what lists ``train/NAME/*`` and ``test/NAME/*``, a folder a class.

    By file name within each class, one of each class after the other: the end of the
    training set has as many of every class, for as long as each has as many files.

    Args:
        names: of the folders; the first is label 0.
    """

    def read(folder: Path, split: Split) -> Listing:
        ranked = [
            (rank, label, f"{split}/{name}/{file}")
            for label, name in enumerate(names)
            for rank, file in enumerate(_files_in(folder / split / name))
        ]
        images = [Listed(path=path, label=label) for _, label, path in sorted(ranked)]
        return Listing(images=images)

    return read


def _files_in(folder: Path) -> list[str]:
    with translate_os_errors(f"cannot read {folder}"):
        return sorted(it.name for it in folder.iterdir() if it.is_file())


def require_every_label(listing: Listing, *, classes: int, where: str) -> None:
    """Accept a split in which every label has an image.

    Raises:
        LocalError: one has none.
    """
    absent = sorted(set(range(classes)) - {image.label for image in listing.images})
    if absent:
        msg = f"{where}: no image of label {', '.join(map(str, absent))}"
        raise LocalError(msg)
