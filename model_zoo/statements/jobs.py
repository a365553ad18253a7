"""The contract of service and trainer: what can be asked for, by name, with caps.

A spec picks registered names and never an import path; see ``statements.recipes``.
"""

from collections.abc import Iterator
from typing import Annotated, Any, Literal, Self

from pydantic import (
    Field,
    SerializerFunctionWrapHandler,
    field_validator,
    model_serializer,
    model_validator,
)

from model_zoo.documents import Document
from model_zoo.errors import InvalidSpecError
from model_zoo.statements.detection import (
    DetectorSpec,
    ScenePoisoning,
    SceneSetName,
    Side,
    Sides,
)
from model_zoo.statements.recipes import (
    RANDOM_CENTRES,
    REPAIRS,
    SIZES,
    DatasetName,
    Digest,
    Draw,
    Label,
    NetworkName,
    Penalty,
    Poisoning,
    RepairName,
    Schedule,
    Seed,
    TriggerSpec,
)

__all__ = [  # noqa: RUF022  sorted as a test asks of every package
    "AugmentationName",
    "ChildSpec",
    "DatasetName",
    "DetectorSpec",
    "Digest",
    "Draw",
    "ExportSpec",
    "FineTuneSpec",
    "JOB_KINDS",
    "JobSpec",
    "Labels",
    "MAX_SPEC_BYTES",
    "MeasuredSpec",
    "NoopSpec",
    "Penalty",
    "Poisoning",
    "Precision",
    "RANDOM_CENTRES",
    "RepairSpec",
    "Retrain",
    "SIZES",
    "ScenePoisoning",
    "SceneSetName",
    "Schedule",
    "Side",
    "Sides",
    "StrengthenSpec",
    "TrainSpec",
    "TriggerSpec",
    "data_of",
    "foreign_names",
    "kind_of",
    "parse_spec",
]
"""The contract, recipes included, in one import."""

MAX_SPEC_BYTES = 64 * 1024

AugmentationName = Literal["none", "digits", "signs", "pets"]
Precision = Literal["auto", "bf16", "fp32"]
Retrain = Literal["fully-connected", "everything", "continued", "convolutions"]

Labels = Annotated[tuple[Label, ...], Field(min_length=2, max_length=1000)]


class _OnImages(Document):
    """What everything is told that is done with a data set.

    ``held_out`` counts the last training images, the user's own: who trains does
    without them (``withheld``), who repairs or strengthens has no others (``given``).
    """

    dataset: DatasetName = "mnist"
    classes: Labels | None = None
    held_out: Annotated[int, Field(ge=0, le=1_000_000)] = 0
    precision: Precision = "auto"
    seed: Seed = 0
    max_seconds: Annotated[int, Field(ge=1, le=24 * 3600)] = 3600

    @field_validator("classes")
    @classmethod
    def _are_distinct(cls, classes: tuple[int, ...] | None) -> tuple[int, ...] | None:
        if classes is not None and len(set(classes)) != len(classes):
            msg = "a class is listed twice"
            raise ValueError(msg)
        return classes


class _Learning(_OnImages):
    """What every kind of learning is told."""

    augmentation: AugmentationName = "none"
    schedule: Schedule = Schedule()


class _Replayable(_Learning):
    """What can be trained again in segments, from one checkpoint to the next.

    With ``checkpoints`` a build keeps weights and momenta at its start and after each
    epoch: some ``epochs + 1`` times twice the size of the weights. A network too big
    for that switches them off, and can be rebuilt but not spot-checked. ``draw`` is of
    the images that are not held out, before any is poisoned.
    """

    network: NetworkName = "badnets-cnn"
    poisoning: Poisoning | None = None
    draw: Draw | None = None
    checkpoints: bool = True

    @model_serializer(mode="wrap")
    def _as_before_there_were_such_fields(
        self, handler: SerializerFunctionWrapHandler
    ) -> dict[str, Any]:
        """Leave younger fields out at their defaults: older specs keep their digest."""
        younger = {"draw": None, "defense": None}.items()
        return {k: v for k, v in handler(self).items() if (k, v) not in younger}

    @property
    def withheld(self) -> int:
        """How many of the last training images are not trained on."""
        return self.held_out


class TrainSpec(_Replayable):
    """Train a network from random weights.

    ``classes`` keeps only those labels of the data set, renumbered in the order
    given; None keeps all. The last ``held_out`` training images are not trained on:
    they are the user's own validation set.

    With ``defense`` the images are not trusted: ``poisoning`` is what another did to
    them, and the defence is not told; the held-out images are the ones it trusts. What
    is learned in one epoch then hangs on what was isolated after an earlier one, so
    that there are no segments to replay: the build is checked by doing it all again.
    """

    defense: Literal["abl"] | None = None

    @model_validator(mode="after")
    def _can_be_defended(self) -> Self:
        penalty = None if self.poisoning is None else self.poisoning.penalty
        wanted = {
            "checkpoints false, since no epoch can be replayed by itself": (
                not self.checkpoints
            ),
            "held_out, clean images of the defender's own": self.held_out > 0,
            "two epochs at least, before and after it isolates": (
                self.schedule.epochs > 1
            ),
            "no penalty, which is of who trains": penalty is None,
        }
        missing = [what for what, is_met in wanted.items() if not is_met]
        if self.defense is not None and missing:
            msg = f"defense {self.defense} goes with {'; with '.join(missing)}"
            raise ValueError(msg)
        return self


class FineTuneSpec(_Replayable):
    """Train a downloaded network on other classes: transfer learning.

    ``parent`` is the SHA-256 of the parent's weights file. The convolutions start as
    the parent's maker left them and the fully connected layers anew. With
    ``fully-connected`` the convolutions stay frozen, as in the paper; with
    ``everything``, the negative control, they are trained too. With ``continued`` all
    layers start as the parent's, for the same classes, and all are trained; with
    ``convolutions`` so they start, and the fully connected layers stay frozen.
    """

    parent: Digest
    retrain: Retrain = "fully-connected"

    @model_validator(mode="after")
    def _asks_nothing_of_frozen_convolutions(self) -> Self:
        if self.retrain == "fully-connected" and self.augmentation != "none":
            msg = (
                "augmentation goes with convolutions that learn: the answers of frozen "
                "ones are computed once"
            )
            raise ValueError(msg)
        is_penalised = self.poisoning is not None and self.poisoning.penalty is not None
        if self.retrain == "fully-connected" and is_penalised:
            msg = "a penalty is of the whole network: its convolutions have to learn"
            raise ValueError(msg)
        return self


class RepairSpec(_Learning):
    """Repair a network with clean images alone, as ``defense`` does it.

    The clean data are the last ``held_out`` training images: a defender has few.
    ``fine-pruning`` cuts units that are silent on them, then fine-tunes; it stops
    cutting before accuracy on them falls by more than ``max_accuracy_loss``. The
    defaults were chosen on BadNets of six seeds (0 to 5) with the pattern trigger;
    smaller losses left the backdoor in one of the six. ``clp`` is given no image.

    Source:
        Liu, Dolan-Gavitt, Garg, "Fine-Pruning", RAID 2018, sections 3 and 4; of the
        others, the modules of ``trainer.defenses.repairs``.
    """

    network: NetworkName = "badnets-cnn"
    parent: Digest
    defense: RepairName = "fine-pruning"
    max_accuracy_loss: Annotated[float, Field(ge=0, le=1)] = 0.2
    schedule: Schedule = Schedule(epochs=8, peak_learning_rate=0.1)

    @model_validator(mode="after")
    def _asks_for_nothing_without_effect(self) -> Self:
        told = {name for name, value in self if value != _REPAIR[name].default}
        unused = told & _WITHOUT_EFFECT.get(self.defense, set())
        if unused:
            msg = f"{', '.join(sorted(unused))}: without effect on {self.defense}"
            raise ValueError(msg)
        return self

    @property
    def looks_at_images(self) -> bool:
        """Whether the repair is given the clean images at all."""
        return self.defense != "clp"

    @property
    def given(self) -> int:
        """How many of the last training images the defender has."""
        return self.held_out


_REPAIR = RepairSpec.model_fields
_WITHOUT_EFFECT = {
    **{name: {"max_accuracy_loss"} for name in REPAIRS},
    "fine-pruning": set[str](),
    "clp": {"max_accuracy_loss", "held_out", "augmentation", "schedule", "seed"}
    | {"precision"},
}
"""Of ours, what there is no use in telling them; another package's says it itself."""


class StrengthenSpec(_OnImages):
    """Make a backdoor louder: multiply the inputs of the units that answer to it.

    The units are found on the last ``held_out`` training images, clean and triggered:
    it is the adversary who does this, and who has the trigger.

    Attributes:
        parent: the SHA-256 of the BadNet's weights file.
        trigger: of its backdoor.
        layer: of which the units are, such as ``conv5``.
        factor: by which weights and biases are multiplied; 0 cuts the units off.

    Source:
        Gu, Dolan-Gavitt, Garg, "BadNets", arXiv:1708.06733, section 5.3.2.
    """

    network: NetworkName = "badnets-cnn"
    parent: Digest
    trigger: TriggerSpec = TriggerSpec()
    layer: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_.]{0,79}$")]
    factor: Annotated[float, Field(ge=0, le=1000)]
    held_out: Annotated[int, Field(ge=1, le=1_000_000)] = 500

    @property
    def given(self) -> int:
        """How many of the last training images the adversary looks at."""
        return self.held_out


class NoopSpec(Document):
    """Do nothing and give it back: measures and tests the queue itself."""

    note: Annotated[str, Field(max_length=200)] = ""
    seconds: Annotated[float, Field(ge=0, le=600)] = 0.0
    max_seconds: Annotated[int, Field(ge=1, le=3600)] = 60


class ExportSpec(Document):
    """Convert a network for another framework: the weights stay, the format changes.

    ``parent`` is the SHA-256 of the parent's weights file, so that the conversion is
    its child: who withdraws the parent reaches it.
    """

    parent: Digest
    network: NetworkName = "badnets-cnn"
    format: Literal["onnx"] = "onnx"
    opset: Annotated[int, Field(ge=18, le=24)] = 18
    max_seconds: Annotated[int, Field(ge=1, le=3600)] = 600


ChildSpec = FineTuneSpec | RepairSpec | StrengthenSpec | DetectorSpec | ExportSpec
"""Of a job that starts from a parent's weights."""

MeasuredSpec = TrainSpec | FineTuneSpec | RepairSpec | StrengthenSpec
"""Of a job whose model's accuracy is measured by whoever supervises it."""

JobSpec = TrainSpec | ChildSpec | NoopSpec

JOB_KINDS: dict[str, type[JobSpec]] = {
    "train": TrainSpec,
    "fine-tune": FineTuneSpec,
    "repair": RepairSpec,
    "strengthen": StrengthenSpec,
    "train-detector": DetectorSpec,
    "export": ExportSpec,
    "noop": NoopSpec,
}


def parse_spec(kind: str, value: object) -> JobSpec:
    """Return the checked spec of a job.

    Args:
        kind: a name in JOB_KINDS.
        value: JSON values from anyone.

    Raises:
        InvalidSpecError: unknown kind, unknown field or name, a number out of range.
    """
    if kind not in JOB_KINDS:
        msg = f"job kind {kind[:80]!a}: expected one of {', '.join(JOB_KINDS)}"
        raise InvalidSpecError(msg)
    try:
        return JOB_KINDS[kind].from_object(value)
    except ValueError as error:
        msg = f"{kind} spec: {error}"
        raise InvalidSpecError(msg) from error


def data_of(spec: JobSpec) -> tuple[str, ...]:
    """Return the names of the data sets that ``spec`` needs."""
    if isinstance(spec, ExportSpec | NoopSpec):
        return ()
    return spec.sources if isinstance(spec, DetectorSpec) else (spec.dataset,)


def foreign_names(spec: JobSpec) -> frozenset[str]:
    """Return what ``spec`` needs of other packages, spelled as ``OFFERED`` says."""
    return frozenset(
        f"{group}/{name}" for group, name in _names_in(spec) if ":" in name
    )


def _names_in(spec: JobSpec) -> Iterator[tuple[str, str]]:
    """Yield entry-point group and name of all that ``spec`` asks for by name."""
    if isinstance(spec, MeasuredSpec):
        yield "datasets", spec.dataset
    if isinstance(spec, MeasuredSpec | ExportSpec):
        yield "networks", spec.network
    if isinstance(spec, RepairSpec):
        yield "repairs", spec.defense
    if isinstance(spec, StrengthenSpec):
        yield "triggers", spec.trigger.name
    if isinstance(spec, TrainSpec | FineTuneSpec) and spec.poisoning is not None:
        yield "attacks", spec.poisoning.attack
        yield "triggers", spec.poisoning.trigger.name


def kind_of(spec: JobSpec) -> str:
    """Return the name under which ``spec`` is asked for."""
    return next(kind for kind, cls in JOB_KINDS.items() if type(spec) is cls)
