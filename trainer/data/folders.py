"""Data sets that a user downloads into a folder: found, read, and kept decoded.

No pin can tell which part of such a data set a user has. Its digest does: SHA-256 over
the path and the SHA-256 of every file that is read, so that other files are other data
wherever provenance names them.
"""

import logging
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import PIL
import torch
from safetensors.torch import save
from torch import Tensor

from model_zoo.canonical import canonical_json
from model_zoo.digests import sha256_bytes
from model_zoo.errors import LocalError, UnsafeFormatError
from model_zoo.files import translate_os_errors
from model_zoo.formats.safetensors import state_dict
from trainer.cache import DECODED, cache_root
from trainer.data import decoding
from trainer.data.dataset import SPLITS, Dataset, Split
from trainer.data.decoding import Box, Pixels
from trainer.data.images import LabelledImages
from trainer.data.listings import Listed, Listing, ReadListing, require_every_label
from trainer.files import read_bytes, write_whole

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Download:
    """What a user downloads, and where it then lies.

    Attributes:
        folder: its name below ``ZOO_DATA_DIR`` or the cache.
        layout: what is expected in it, in words.
        page: where it can be had.
    """

    folder: str
    layout: str
    page: str

    def places(self) -> list[Path]:
        """Return where it may lie, in the order in which that is tried."""
        given = os.environ.get("ZOO_DATA_DIR")
        roots = [Path(given)] if given else []
        return [root / self.folder for root in (*roots, cache_root())]

    def find(self) -> Path:
        """Return the folder.

        Raises:
            LocalError: there is none; the message says what to download and where to
                put it.
        """
        places = self.places()
        for place in places:
            if place.is_dir():
                return place
        looked = " nor ".join(map(str, places))
        found = f"neither {looked} is there" if len(places) > 1 else f"no {looked}"
        msg = f"{found}; {self.advice}"
        raise LocalError(msg)

    @property
    def origin(self) -> str:
        """Who downloads it, and from where, in words."""
        return f"you download it from {self.page}"

    @property
    def advice(self) -> str:
        """What the user can do."""
        return (
            f"download it from {self.page} and unpack it as {self.layout} in "
            f"{cache_root() / self.folder}, or set ZOO_DATA_DIR to the folder that "
            f"holds {self.folder}/"
        )

    @contextmanager
    def advised(self, name: str) -> Iterator[Path]:
        """Give the folder to the block; what that finds wrong is reported with advice.

        Args:
            name: of the data set.

        Raises:
            LocalError: there is no folder, or the block raised one.
        """
        folder = self.find()
        try:
            yield folder
        except LocalError as error:
            msg = f"{name}: {error}; {self.advice}"
            raise LocalError(msg) from error


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageFolder:
    """How a folder of image files becomes labelled images.

    Attributes:
        name: of the data set.
        download: where the files come from.
        classes: number of labels.
        side: of the square that every image becomes, in pixels.
        listing: reads the lists.
    """

    name: str
    download: Download
    classes: int
    side: int
    listing: ReadListing


def in_folder(images: ImageFolder) -> Dataset:
    """Return the data set of ``images``, as it is registered."""
    return Dataset(
        classes=images.classes,
        digest=partial(data_digest, images),
        load=partial(load, images),
        ensure=partial(ensure, images),
        is_at_hand=partial(is_at_hand, images),
        origin=images.download.origin,
        is_fetched=False,
    )


def load(images: ImageFolder, split: Split) -> LabelledImages:
    """Return one split: (N, 3, side, side) uint8 images, their labels, boxes, groups.

    What was decoded is kept in the cache under the digest of the files, which are read
    every time; only the decoding is spared.

    Raises:
        LocalError: the folder or a file in it is missing, or is not what it should be.
    """
    with images.download.advised(images.name) as folder:
        listing = _listing(images, folder, split)
        path = _place_of(images, split, listing, files_digest(folder, listing.paths))
        found = _kept(path)
        if found is None:
            found = _decoded(images, folder, listing)
            _keep(path, found)
        return found


def _place_of(images: ImageFolder, split: Split, listing: Listing, files: str) -> Path:
    """Return where a decoded split is kept, named by all that it depends on."""
    recipe = {
        "files": files,
        "listed": sha256_bytes(repr(listing.images).encode()),
        "margin": decoding.MARGIN,
        "pillow": PIL.__version__,
        "side": images.side,
    }
    key = sha256_bytes(canonical_json(recipe))
    return cache_root() / DECODED / f"{images.name}-{split}-{key[:32]}.safetensors"


def ensure(images: ImageFolder) -> None:
    """Decode both splits, so that they load fast from now on.

    Raises:
        LocalError: as for ``load``; nothing can be downloaded.
    """
    for split in SPLITS:
        load(images, split)


def is_at_hand(images: ImageFolder) -> bool:
    """Whether every file that the lists name is there."""
    try:
        with images.download.advised(images.name) as folder:
            paths = _all_paths(images, folder)
    except LocalError:
        return False
    return all((folder / path).is_file() for path in paths)


def data_digest(images: ImageFolder) -> str:
    """Return the digest that provenance records: of every file of both splits.

    Raises:
        LocalError: one cannot be read.
    """
    with images.download.advised(images.name) as folder:
        return files_digest(folder, _all_paths(images, folder))


def _all_paths(images: ImageFolder, folder: Path) -> list[str]:
    listings = [_listing(images, folder, split) for split in SPLITS]
    return [path for listing in listings for path in listing.paths]


def _listing(images: ImageFolder, folder: Path, split: Split) -> Listing:
    listing = images.listing(folder, split)
    where = f"{folder}, {split}"
    require_every_label(listing, classes=images.classes, where=where)
    return listing


def files_digest(folder: Path, paths: Iterable[str]) -> str:
    """Return SHA-256 of the canonical JSON of path -> SHA-256 of the file.

    Raises:
        LocalError: one cannot be read.
    """
    found = {path: sha256_bytes(read_bytes(folder / path)) for path in paths}
    return sha256_bytes(canonical_json(found))


def _decoded(images: ImageFolder, folder: Path, listing: Listing) -> LabelledImages:
    listed = listing.images
    squares = np.empty((len(listed), 3, images.side, images.side), dtype=np.uint8)
    boxes = np.empty((len(listed), 4), dtype=np.float32)
    for at, image in enumerate(listed):
        squares[at], boxes[at] = _square(folder / image.path, image, side=images.side)
    return LabelledImages(
        images=torch.from_numpy(squares),
        labels=torch.tensor([image.label for image in listed]),
        boxes=torch.from_numpy(boxes) if listed[0].box else None,
        groups=_groups(listed),
    )


def _square(path: Path, image: Listed, *, side: int) -> tuple[Pixels, Box]:
    """Return an image's pixels, and where in them the object is."""
    picture = decoding.open_picture(path)
    width, height = picture.size
    if image.box is None:
        crop = decoding.middle(width=width, height=height)
        return decoding.shrunk(picture, crop, side=side), Box(0, 0, side, side)
    if not decoding.is_inside(image.box, width=width, height=height):
        msg = (
            f"{path}: expected the box of its list inside the picture of {width} x "
            f"{height} pixels, found {tuple(image.box)}"
        )
        raise LocalError(msg)
    crop = decoding.around(image.box, width=width, height=height)
    box = decoding.seen_in(image.box, crop, side=side)
    return decoding.shrunk(picture, crop, side=side), box


def _groups(listed: Sequence[Listed]) -> Tensor | None:
    groups = [image.group for image in listed if image.group is not None]
    return torch.tensor(groups) if groups else None


def _kept(path: Path) -> LabelledImages | None:
    """Return what was kept at ``path``; None if nothing was, or it is damaged."""
    if not path.exists():
        return None
    try:
        return LabelledImages(**state_dict(read_bytes(path)))
    except (LocalError, TypeError, UnsafeFormatError, ValueError) as error:
        log.warning("%s: %s; decoding the images again", path, error)
        return None


def _keep(path: Path, data: LabelledImages) -> None:
    parts = {"images": data.images, "labels": data.labels}
    parts |= {"boxes": data.boxes} if data.boxes is not None else {}
    parts |= {"groups": data.groups} if data.groups is not None else {}
    try:
        write_whole(path, bytes(save(parts)))
    except LocalError as error:
        log.warning("%s; the images are decoded again next time", error)


def names_in(folder: Path) -> list[str]:
    """Return the names of what is in ``folder``, sorted.

    Raises:
        LocalError: it cannot be read.
    """
    with translate_os_errors(f"cannot read {folder}"):
        return sorted(path.name for path in folder.iterdir())
