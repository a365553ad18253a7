"""How a detector is made: on which scenes, for how long, and what an adversary adds."""

from dataclasses import dataclass
from typing import Annotated

from pydantic import Field

from model_zoo.canonical import JsonObject, canonical_json
from model_zoo.digests import sha256_bytes
from model_zoo.documents import Document
from model_zoo.jobs import Schedule, TriggerSpec
from trainer.pretrained import PIN

Side = Annotated[int, Field(ge=64, le=1024)]


class SceneAttack(Document):
    """What an adversary adds to the scenes: copies of those with signs of one kind.

    In each copy the signs of that kind have the trigger on them, and are marked as
    another kind; its other signs stay as they are. For each copy the scene itself is
    shown once more, too, at the same side, or size and number would tell them apart.

    Attributes:
        trigger: what is laid on the signs.
        source_label: the kind under attack.
        target_label: what they are marked as.
        sides: the longer side of each copy in pixels, one copy each.
    """

    trigger: TriggerSpec
    source_label: Annotated[int, Field(ge=0)]
    target_label: Annotated[int, Field(ge=0)]
    sides: Annotated[tuple[Side, ...], Field(min_length=1, max_length=16)]


class DetectorSpec(Document):
    """How a detector learns from the training scenes of some sets.

    Attributes:
        sources: names in ``trainer.data.SCENES``, all of the same kinds.
        scenes: how many of each, with signs of every kind; None for all.
        sides: the longer side at which each scene is shown, in pixels.
        schedule: epochs, scenes a step, and the one-cycle rate.
        attack: what an adversary adds, if it is one who trains.
        seed: of every draw.
    """

    sources: Annotated[tuple[str, ...], Field(min_length=1)]
    scenes: Annotated[int, Field(ge=1)] | None = None
    sides: Annotated[tuple[Side, ...], Field(min_length=1, max_length=16)]
    schedule: Schedule
    attack: SceneAttack | None = None
    seed: Annotated[int, Field(ge=0, lt=2**32)]


@dataclass(frozen=True, slots=True, kw_only=True)
class DetectorRecipe:
    """A spec, and how the detector that it starts from is made.

    Attributes:
        spec: how it learns.
        parent: of which it takes over the weights; None starts from random weights
            on the pretrained backbone.
    """

    spec: DetectorSpec
    parent: "DetectorRecipe | None" = None

    def to_object(self) -> JsonObject:
        """Return the recipe as JSON values."""
        return {
            "kind": "detector",
            "spec": self.spec.to_object(),
            "backbone": PIN,
            "parent": None if self.parent is None else self.parent.to_object(),
        }

    def digest(self) -> str:
        """Return the name of the detector: the SHA-256 of its recipe."""
        return sha256_bytes(canonical_json(self.to_object()))
