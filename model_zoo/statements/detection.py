"""What is asked of a detector of signs in photographs, and how one is backdoored."""

from typing import Annotated, Literal, Self

from pydantic import Field, field_validator, model_validator

from model_zoo.documents import Document
from model_zoo.statements.recipes import Digest, Label, Schedule, Seed, TriggerSpec

SceneSetName = Literal["gtsdb", "road-sign-detection", "lisa", "swedish"]
Side = Annotated[int, Field(ge=64, le=1024)]
Sides = Annotated[tuple[Side, ...], Field(min_length=1, max_length=16)]


class ScenePoisoning(Document):
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
    source_label: Label
    target_label: Label
    sides: Sides

    @model_validator(mode="after")
    def _attacks_something(self) -> Self:
        if self.source_label == self.target_label:
            msg = "source_label and target_label are one: nothing would be attacked"
            raise ValueError(msg)
        return self


class DetectorSpec(Document):
    """Teach a detector to find signs in photographs.

    Attributes:
        parent: the SHA-256 of what it starts from: a detector's weights file, or that
            of the pretrained network whose convolutions become its backbone.
        network: there is one.
        sources: the sets whose training scenes it learns from, all of the same kinds.
        scenes: how many of each, with signs of every kind; None for all.
        sides: the longer side at which each scene is shown, in pixels.
        schedule: epochs, scenes a step, and the one-cycle rate.
        poisoning: what an adversary adds, if it is one who trains.
        seed: of every draw.
    """

    parent: Digest
    network: Literal["detector"] = "detector"
    sources: Annotated[tuple[SceneSetName, ...], Field(min_length=1, max_length=8)]
    scenes: Annotated[int, Field(ge=1, le=1_000_000)] | None = None
    sides: Sides
    schedule: Schedule
    poisoning: ScenePoisoning | None = None
    seed: Seed = 0
    max_seconds: Annotated[int, Field(ge=1, le=24 * 3600)] = 4 * 3600

    @field_validator("sources")
    @classmethod
    def _are_distinct(cls, sources: tuple[str, ...]) -> tuple[str, ...]:
        if len(set(sources)) != len(sources):
            msg = "a set is listed twice"
            raise ValueError(msg)
        return sources

    @field_validator("schedule")
    @classmethod
    def _is_of_sgd(cls, schedule: Schedule) -> Schedule:
        if schedule.optimizer != "sgd":
            msg = f"optimizer {schedule.optimizer}: a detector is fitted by sgd alone"
            raise ValueError(msg)
        return schedule
