"""The model cache: models by recipe, made once and kept as safetensors files."""

import json
import os
import shutil
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from model_zoo.canonical import JsonObject, canonical_json
from model_zoo.digests import sha256_bytes, sha256_file
from model_zoo.statements.jobs import ChildSpec, DetectorSpec, data_of
from trainer.builds.build import WEIGHTS_NAME, weights_of
from trainer.data import data_digest
from trainer.experiments.engine.cells import Recipe, RecipeSpec
from trainer.files import alone, read_bytes, write_whole
from trainer.networks import SplitNetwork
from trainer.networks.checkpoints import from_bytes
from trainer.networks.pretrained import PIN, pretrained_efficientnet
from trainer.training.devices import resolve_precision

if TYPE_CHECKING:
    from trainer.object_detection.network import Detector

CPU = torch.device("cpu")
PRETRAINED: dict[str, Callable[[], Path]] = {PIN: pretrained_efficientnet}
"""SHA-256 of a pretrained network's weights -> the safetensors file of them."""


Maker = Callable[..., bytes]
"""Makes a model, here or by ordering it; its arguments are those of ``make_here``."""


def models_folder() -> Path:
    """Return where models are kept between runs: they are large, and can be remade."""
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(home) / "verified-model-zoo" / "experiments"


def make_here(
    spec: RecipeSpec, *, parent: Path | None, place: Path, device: str = "cpu"
) -> bytes:
    """Return the weights of a model, made in this process on the caller's threads.

    Args:
        spec: what to make; the digest of its parent is filled in.
        parent: the weights file that the spec names by digest, if it names one.
        place: where the weights will be kept; its folder is there to be used.
        device: where it is made.
    """
    scratch = place.with_suffix(".build")
    shutil.rmtree(scratch, ignore_errors=True)  # of a process that was killed
    scratch.mkdir()
    try:
        if not isinstance(spec, DetectorSpec):
            return weights_of(spec, scratch=scratch, parent=parent, device=device)
        from trainer.object_detection.build import build_detector  # noqa: PLC0415  torchvision, only where it is needed

        build_detector(spec, folder=scratch, parent=parent)
        return read_bytes(scratch / WEIGHTS_NAME)
    finally:
        shutil.rmtree(scratch)


@dataclass(slots=True, kw_only=True)
class ModelCache:
    """Models in a folder, each named by its recipe, its data and where it is made.

    Several processes may share the folder: whoever comes second waits for the first.

    Attributes:
        folder: of the models.
        device: where models are made and measured.
        make: makes one.
        made_by: who that is, as ``OrderClient.who`` says it; empty if it is done here.
    """

    folder: Path
    device: torch.device = CPU
    make: Maker = make_here
    made_by: str = ""
    _digests: dict[str, str] = field(default_factory=dict, init=False)

    def data(self, names: Collection[str]) -> dict[str, str]:
        """Return data set -> SHA-256 of those on this machine; each is read once.

        Raises:
            LocalError: one is not there, or damaged.
        """
        for name in names:
            if name not in self._digests:
                self._digests[name] = data_digest(name)
        return {name: self._digests[name] for name in names}

    def network(self, recipe: Recipe) -> SplitNetwork:
        """Return the model of ``recipe`` on the device, made if it is not there yet."""
        weights = read_bytes(self.path(recipe))
        return from_bytes(weights, network=recipe.spec.network).to(self.device)

    def detector(self, recipe: Recipe) -> "Detector":
        """Return the detector of ``recipe`` on the CPU, made if it is not there yet."""
        from trainer.object_detection.weights import detector_from_bytes  # noqa: PLC0415  torchvision, only where it is needed

        return detector_from_bytes(read_bytes(self.path(recipe)))

    def place(self, recipe: Recipe) -> Path:
        """Return where the weights file of ``recipe`` is, or would be."""
        key = canonical_json(self._key(recipe))
        return self.folder / f"{sha256_bytes(key)}.safetensors"

    def _key(self, recipe: Recipe) -> JsonObject:
        """Return what decides a model's bits, as far as it may differ here."""
        key: JsonObject = {
            "recipe": recipe.to_object(),
            "data": self.data(_data_of(recipe)),
        }
        if not self.made_by:  # else somebody else's device decides, which he signs
            key["device"] = self.device.type
            key["precision"] = resolve_precision("auto", self.device)
        return key

    def path(self, recipe: Recipe) -> Path:
        """Return the weights file of ``recipe``, made if it is not there yet."""
        path = self.place(recipe)
        if path.exists():
            return path
        with alone(path.with_suffix(".lock")):
            if not path.exists():
                key = json.dumps(self._key(recipe), indent=1, sort_keys=True)
                write_whole(path.with_suffix(".json"), key.encode())
                write_whole(path, self._made(recipe, path))
        return path

    def _made(self, recipe: Recipe, place: Path) -> bytes:
        spec, parent = recipe.spec, self._parent(recipe)
        if isinstance(spec, ChildSpec) and parent is not None:
            spec = spec.model_copy(update={"parent": sha256_file(parent)})
        return self.make(spec, parent=parent, place=place, device=self.device.type)

    def _parent(self, recipe: Recipe) -> Path | None:
        if recipe.parent is None:
            return None
        if isinstance(recipe.parent, str):
            return PRETRAINED[recipe.parent]()
        return self.path(recipe.parent)


def _data_of(recipe: Recipe) -> list[str]:
    """Return the names of the data sets that it and its parents are made from."""
    names = set(data_of(recipe.spec))
    if isinstance(recipe.parent, Recipe):
        names.update(_data_of(recipe.parent))
    return sorted(names)
