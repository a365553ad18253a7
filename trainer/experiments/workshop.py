"""The workshop: models by recipe, made once and kept as safetensors files."""

import fcntl
import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from torch import Tensor

from model_zoo.digests import sha256_file
from model_zoo.jobs import FineTuneSpec
from trainer.attacks.strengthening import backdoor_units
from trainer.attacks.triggers import stamp
from trainer.builds import WEIGHTS_NAME, build
from trainer.checkpoints import from_bytes, to_bytes
from trainer.data import DATASETS
from trainer.detection.network import Detector
from trainer.detection.specs import DetectorRecipe
from trainer.detection.training import trained, training_scenes
from trainer.detection.weights import detector_from_bytes
from trainer.experiments.contract import Making, Recipe, Strengthened
from trainer.files import read_bytes, write_whole
from trainer.metrics import PLACES_SEED
from trainer.networks import SplitNetwork
from trainer.pretrained import pretrained_efficientnet
from trainer.units import amplified

PRETRAINED: dict[str, Callable[[], Path]] = {
    "efficientnet-lite0": pretrained_efficientnet
}
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

    def network(self, recipe: Making) -> SplitNetwork:
        """Return the model of ``recipe`` on the CPU, made if it is not there yet."""
        return from_bytes(read_bytes(self.path(recipe)), network=recipe.network)

    def detector(self, recipe: DetectorRecipe) -> Detector:
        """Return the detector of ``recipe`` on the CPU, made if it is not there yet."""
        path = self._kept(recipe, lambda: self._made_detector(recipe))
        return detector_from_bytes(read_bytes(path))

    def path(self, recipe: Making) -> Path:
        """Return the weights file of ``recipe``, made if it is not there yet."""
        return self._kept(recipe, lambda: self._made(recipe))

    def has(self, recipe: Making | DetectorRecipe) -> bool:
        """Whether the model of ``recipe`` is there already."""
        return self._place(recipe).exists()

    def _place(self, recipe: Making | DetectorRecipe) -> Path:
        return self.folder / f"{recipe.digest()}.safetensors"

    def _kept(self, recipe: Making | DetectorRecipe, made: Callable[[], bytes]) -> Path:
        path = self._place(recipe)
        if path.exists():
            return path
        with _alone(path.with_suffix(".lock")):
            if not path.exists():
                told = json.dumps(recipe.to_object(), indent=1, sort_keys=True)
                write_whole(path.with_suffix(".json"), told.encode())
                write_whole(path, made())
        return path

    def _made_detector(self, recipe: DetectorRecipe) -> bytes:
        parent = None if recipe.parent is None else self.detector(recipe.parent)
        scenes = training_scenes(recipe.spec)
        return to_bytes(trained(recipe.spec, scenes, parent=parent))

    def _made(self, recipe: Making) -> bytes:
        if isinstance(recipe, Strengthened):
            return to_bytes(strengthened(recipe, self.network(recipe.of)))
        spec, parent = recipe.spec, self._parent(recipe)
        if isinstance(spec, FineTuneSpec) and parent is not None:
            spec = spec.model_copy(update={"parent": sha256_file(parent)})
        with TemporaryDirectory(prefix="build-", dir=self.folder) as scratch:
            build(spec, folder=Path(scratch), parent=parent)
            return read_bytes(Path(scratch) / WEIGHTS_NAME)

    def _parent(self, recipe: Recipe) -> Path | None:
        if recipe.parent is None:
            return None
        if isinstance(recipe.parent, str):
            return PRETRAINED[recipe.parent]()
        return self.path(recipe.parent)


def strengthened(recipe: Strengthened, network: SplitNetwork) -> SplitNetwork:
    """Return ``network`` with its backdoor's units louder."""
    units, _ = units_of(recipe, network)
    return amplified(network, recipe.layer, units, factor=recipe.factor)


def units_of(
    recipe: Strengthened, network: SplitNetwork
) -> tuple[tuple[int, ...], Tensor]:
    """Return the backdoor's units, and how far each unit of the layer moves."""
    data = DATASETS[recipe.of.spec.dataset].load("train").last(recipe.images)
    places = torch.Generator().manual_seed(PLACES_SEED)
    return backdoor_units(
        network,
        data.images,
        stamp(data.images, recipe.trigger, boxes=data.boxes, generator=places),
        layer=recipe.layer,
        device=torch.device("cpu"),
    )


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Hold the file lock at ``path``; a process that dies lets go of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
