"""Scenes: photographs with any number of signs, and where each of them is."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from model_zoo.errors import InvalidSpecError, LocalError
from trainer.data.dataset import SPLITS, Split
from trainer.data.decoding import Box, is_inside, open_picture, pixels
from trainer.data.folders import Download, files_digest


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """One photograph.

    Attributes:
        path: of its file, which may be large: it is decoded when it is asked for.
        boxes: (K, 4) float32, left, top, right and bottom of each sign, in pixels.
        labels: (K,) int64, places in the ``kinds`` of its set; K may be 0.
        source: the name of its data set.
    """

    path: Path
    boxes: Tensor
    labels: Tensor
    source: str

    def __post_init__(self) -> None:
        if self.boxes.shape != (len(self.labels), 4):
            msg = f"boxes: expected ({len(self.labels)}, 4), found {self.boxes.shape}"
            raise ValueError(msg)

    def pixels(self) -> Tensor:
        """Return the photograph: (3, H, W) uint8.

        Raises:
            LocalError: it cannot be decoded, or a box is not inside it.
        """
        picture = open_picture(self.path)
        width, height = picture.size
        for box in self.boxes.tolist():
            if not is_inside(Box(*box), width=width, height=height):
                msg = (
                    f"{self.path}: expected the boxes of its list inside the picture "
                    f"of {width} x {height} pixels, found {box}"
                )
                raise LocalError(msg)
        return torch.from_numpy(pixels(picture).copy())


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenes:
    """One split of one set, or of several with the same kinds of signs.

    Attributes:
        kinds: what a label is called.
        scenes: in a fixed order.
    """

    kinds: tuple[str, ...]
    scenes: tuple[Scene, ...]

    def __len__(self) -> int:
        return len(self.scenes)

    def joined(self, others: "Scenes") -> "Scenes":
        """Return these scenes, then the others.

        Raises:
            InvalidSpecError: the others are of other kinds of signs.
        """
        if others.kinds != self.kinds:
            msg = f"scenes of {self.kinds} and of {others.kinds}: labels would differ"
            raise InvalidSpecError(msg)
        return Scenes(kinds=self.kinds, scenes=self.scenes + others.scenes)


@dataclass(frozen=True, slots=True, kw_only=True)
class Marked:
    """What the lists of a set say of one photograph.

    Attributes:
        path: below the folder of the set, parts joined by slashes.
        signs: each with its label and where it is.
    """

    path: str
    signs: Sequence[tuple[int, Box]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Marking:
    """One split as the lists of a set tell it.

    Attributes:
        scenes: in the order in which the split is read.
        lists: the files that said so, as paths below the folder.
    """

    scenes: Sequence[Marked]
    lists: Sequence[str]

    @property
    def paths(self) -> list[str]:
        """All that is read: the lists and the photographs."""
        return [*self.lists, *(scene.path for scene in self.scenes)]


@dataclass(frozen=True, slots=True, kw_only=True)
class SceneSet:
    """A registered set of scenes.

    Attributes:
        name: as it is asked for.
        download: where the files come from.
        kinds: what a label is called.
        marking: reads the lists below a folder.
        never: those of ``kinds`` of which the set has no sign.
    """

    name: str
    download: Download
    kinds: tuple[str, ...]
    marking: Callable[[Path, Split], Marking]
    never: tuple[str, ...] = ()

    @property
    def origin(self) -> str:
        """Who downloads it, and from where, in words."""
        return self.download.origin

    def load(self, split: Split) -> Scenes:
        """Return one split.

        Raises:
            LocalError: the folder or a file is missing, a list is malformed, or a kind
                of sign is in no scene that is to be learnt from.
        """
        with self.download.advised(self.name) as folder:
            marking = self._marking(folder, split)
            scenes = tuple(self._scene(folder, marked) for marked in marking.scenes)
            for scene in scenes:
                if not scene.path.is_file():
                    msg = f"{scene.path}: a list names it, and it is not there"
                    raise LocalError(msg)
        return Scenes(kinds=self.kinds, scenes=scenes)

    def digest(self) -> str:
        """Return the SHA-256 that provenance records, of every file of both splits.

        Raises:
            LocalError: one cannot be read.
        """
        with self.download.advised(self.name) as folder:
            markings = [self._marking(folder, split) for split in SPLITS]
            return files_digest(folder, [path for it in markings for path in it.paths])

    def is_at_hand(self) -> bool:
        """Whether every file that the lists name is there."""
        try:
            for split in SPLITS:
                self.load(split)
        except LocalError:
            return False
        return True

    def _marking(self, folder: Path, split: Split) -> Marking:
        marking = self.marking(folder, split)
        signs = [label for scene in marking.scenes for label, _ in scene.signs]
        found = {self.kinds[label] for label in signs}
        absent = [kind for kind in self.kinds if kind not in {*found, *self.never}]
        if absent and split == "train":
            msg = f"{folder}, {split}: no sign of {', '.join(absent)}"
            raise LocalError(msg)
        return marking

    def _scene(self, folder: Path, marked: Marked) -> Scene:
        boxes = torch.tensor([box for _, box in marked.signs], dtype=torch.float32)
        return Scene(
            path=folder / marked.path,
            boxes=boxes.view(-1, 4),
            labels=torch.tensor([at for at, _ in marked.signs], dtype=torch.int64),
            source=self.name,
        )


def clipped(box: Box, *, width: int, height: int) -> Box | None:
    """Return what of ``box`` is in the picture; None if nothing is."""
    inside = Box(
        max(box.left, 0),
        max(box.top, 0),
        min(box.right, width),
        min(box.bottom, height),
    )
    return inside if is_inside(inside, width=width, height=height) else None
