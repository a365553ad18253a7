"""The workshop: models by recipe, made once and kept as safetensors files."""

import fcntl
import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Protocol

from model_zoo.digests import sha256_file
from model_zoo.jobs import ChildSpec
from trainer.builds import WEIGHTS_NAME
from trainer.checkpoints import from_bytes
from trainer.detection.network import Detector
from trainer.detection.weights import detector_from_bytes
from trainer.experiments.contract import Recipe, RecipeSpec
from trainer.files import read_bytes, write_whole
from trainer.making import make
from trainer.networks import SplitNetwork
from trainer.pretrained import PIN, pretrained_efficientnet

PRETRAINED: dict[str, Callable[[], Path]] = {PIN: pretrained_efficientnet}
"""SHA-256 of a pretrained network's weights -> the safetensors file of them."""


class Maker(Protocol):
    """Who makes a model: this process, or a trainer who is told what to make."""

    def __call__(self, spec: RecipeSpec, *, parent: Path | None, place: Path) -> bytes:
        """Return the weights of ``spec``, whose parent's digest is filled in.

        Args:
            spec: what to make.
            parent: the weights file that the spec names by digest, if it names one.
            place: where the weights will be kept; its folder is there to be used.
        """
        ...


def models_folder() -> Path:
    """Return where models are kept between runs: they are large, and can be remade."""
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(home) / "verified-model-zoo" / "experiments"


def make_here(spec: RecipeSpec, *, parent: Path | None, place: Path) -> bytes:
    """Make a model in this process, on one thread unless the caller set more."""
    with TemporaryDirectory(prefix="build-", dir=place.parent) as scratch:
        make(spec, folder=Path(scratch), parent=parent)
        return read_bytes(Path(scratch) / WEIGHTS_NAME)


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptModels:
    """A workshop that keeps in a folder what its maker made.

    Several processes may share the folder: whoever comes second waits for the first.
    """

    folder: Path
    make: Maker = make_here

    def network(self, recipe: Recipe) -> SplitNetwork:
        """Return the model of ``recipe`` on the CPU, made if it is not there yet."""
        return from_bytes(read_bytes(self.path(recipe)), network=recipe.network)

    def detector(self, recipe: Recipe) -> Detector:
        """Return the detector of ``recipe`` on the CPU, made if it is not there yet."""
        return detector_from_bytes(read_bytes(self.path(recipe)))

    def has(self, recipe: Recipe) -> bool:
        """Whether the model of ``recipe`` is there already."""
        return self._place(recipe).exists()

    def _place(self, recipe: Recipe) -> Path:
        return self.folder / f"{recipe.digest()}.safetensors"

    def path(self, recipe: Recipe) -> Path:
        """Return the weights file of ``recipe``, made if it is not there yet."""
        path = self._place(recipe)
        if path.exists():
            return path
        with _alone(path.with_suffix(".lock")):
            if not path.exists():
                told = json.dumps(recipe.to_object(), indent=1, sort_keys=True)
                write_whole(path.with_suffix(".json"), told.encode())
                write_whole(path, self._made(recipe, path))
        return path

    def _made(self, recipe: Recipe, place: Path) -> bytes:
        spec, parent = recipe.spec, self._parent(recipe)
        if isinstance(spec, ChildSpec) and parent is not None:
            spec = spec.model_copy(update={"parent": sha256_file(parent)})
        return self.make(spec, parent=parent, place=place)

    def _parent(self, recipe: Recipe) -> Path | None:
        if recipe.parent is None:
            return None
        if isinstance(recipe.parent, str):
            return PRETRAINED[recipe.parent]()
        return self.path(recipe.parent)


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Hold the file lock at ``path``; a process that dies lets go of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
