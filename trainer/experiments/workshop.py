"""The workshop: models by recipe, made once and kept as safetensors files."""

import fcntl
import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from model_zoo.digests import sha256_file
from model_zoo.jobs import FineTuneSpec
from trainer.builds import WEIGHTS_NAME, build
from trainer.checkpoints import from_bytes
from trainer.experiments.contract import Recipe
from trainer.files import read_bytes, write_whole
from trainer.networks import SplitNetwork

PRETRAINED: dict[str, Callable[[], Path]] = {}
"""Name of a pretrained network -> the safetensors file of its weights."""


def models_folder() -> Path:
    """Return where models are kept between runs: they are large, and can be remade."""
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(home) / "verified-model-zoo" / "experiments"


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalWorkshop:
    """Makes models in this process, on one thread unless the caller set more.

    Several processes may share the folder: whoever comes second waits for the first.
    """

    folder: Path

    def network(self, recipe: Recipe) -> SplitNetwork:
        """Return the model of ``recipe`` on the CPU, made if it is not there yet."""
        return from_bytes(read_bytes(self.path(recipe)), network=recipe.spec.network)

    def path(self, recipe: Recipe) -> Path:
        """Return the weights file of ``recipe``, made if it is not there yet."""
        path = self.folder / f"{recipe.digest()}.safetensors"
        if path.exists():
            return path
        with _alone(path.with_suffix(".lock")):
            if not path.exists():
                self._make(recipe, path)
        return path

    def _make(self, recipe: Recipe, path: Path) -> None:
        spec, parent = recipe.spec, self._parent(recipe)
        if isinstance(spec, FineTuneSpec) and parent is not None:
            spec = spec.model_copy(update={"parent": sha256_file(parent)})
        with TemporaryDirectory(prefix="build-", dir=self.folder) as scratch:
            build(spec, folder=Path(scratch), parent=parent)
            made = read_bytes(Path(scratch) / WEIGHTS_NAME)
        told = json.dumps(recipe.to_object(), indent=1, sort_keys=True)
        write_whole(path.with_suffix(".json"), told.encode())
        write_whole(path, made)

    def _parent(self, recipe: Recipe) -> Path | None:
        if isinstance(recipe.parent, Recipe):
            return self.path(recipe.parent)
        return None if recipe.parent is None else PRETRAINED[recipe.parent]()


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Hold the file lock at ``path``; a process that dies lets go of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
