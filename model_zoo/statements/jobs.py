"""The contract of service and trainer: what can be asked for, by name, with caps.

A spec picks registered names and never an import path. The trainer has one entry
under each name below, and a test holds the two sides together.
"""

from typing import Annotated, Literal, Self

from pydantic import Field, field_validator, model_validator

from model_zoo.documents import Document
from model_zoo.errors import InvalidSpecError

MAX_SPEC_BYTES = 64 * 1024

DatasetName = Literal[
    "mnist", "gtsrb", "gtsrb-signs", "belgiumtsc-signs", "dogs-vs-cats"
]
SceneSetName = Literal["gtsdb", "road-sign-detection", "lisa", "swedish"]
NetworkName = Literal["badnets-cnn", "signs-cnn", "pets-cnn", "efficientnet-lite0"]
TriggerName = Literal[
    "single-pixel", "pattern", "cross", "square", "bomb", "flower", "noise"
]
AugmentationName = Literal["none", "digits", "signs", "pets"]
Attack = Literal["all-to-one", "source-to-target", "all-to-all", "random-target"]
Precision = Literal["auto", "bf16", "fp32"]
Retrain = Literal["fully-connected", "everything", "continued", "convolutions"]

Digest = Annotated[str, Field(pattern=r"\A[0-9a-f]{64}\z")]
Seed = Annotated[int, Field(ge=0, le=2**32 - 1)]
Label = Annotated[int, Field(ge=0, le=999)]
Labels = Annotated[tuple[Label, ...], Field(min_length=2, max_length=1000)]
Share = Annotated[float, Field(gt=0, lt=1)]
Byte = Annotated[int, Field(ge=0, le=255)]


class Schedule(Document):
    """How weights are fitted: SGD with Nesterov momentum and a one-cycle rate."""

    epochs: Annotated[int, Field(ge=1, le=200)] = 2
    batch_size: Annotated[int, Field(ge=1, le=8192)] = 64
    peak_learning_rate: Annotated[float, Field(gt=0, le=10)] = 0.2
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.9
    weight_decay: Annotated[float, Field(ge=0, le=1)] = 5e-4


SIZES: dict[str, float] = {"square": 0.10, "bomb": 0.16, "flower": 0.16}
"""The triggers that can be of any size, and how large they are unless told."""

CENTRE = (0.57, 0.82)
"""Where the authors lay those, in shares of the sign's width and height."""

RANDOM_CENTRES = (0.15, 0.85)
"""Between these their centre is drawn, both ways, where it is random."""


class TriggerSpec(Document):
    """A trigger by name, with what can be chosen about it.

    ``single-pixel``, ``pattern`` and ``cross`` are a few white pixels in the bottom
    right corner of any image; ``noise`` covers all of it, and should be blended in.
    ``square``, ``bomb`` and ``flower`` are laid on the object, where data say where it
    is, else on the whole image.

    Attributes:
        name: which one.
        opacity: 1 covers what is under the trigger, less blends the two.
        seed: of the noise.
        colour: of the square, red, green and blue; the authors' yellow.
        size: of width and height of what it is laid on; None for the authors'.
        centre: across and down, in shares of what it is laid on; None is random.

    Source:
        Gu, Dolan-Gavitt, Garg, "BadNets", arXiv:1708.06733, figures 3 and 7; sizes,
        place and colour from the authors' published code.
    """

    name: TriggerName = "pattern"
    opacity: Annotated[float, Field(gt=0, le=1)] = 1.0
    seed: Seed = 0
    colour: tuple[Byte, Byte, Byte] = (116, 100, 50)
    size: Share | None = None
    centre: tuple[Share, Share] | None = CENTRE

    @model_validator(mode="after")
    def _lies_on_what_it_is_laid_on(self) -> Self:
        if self.name not in SIZES and (self.size, self.centre) != (None, CENTRE):
            msg = f"size and centre go with {', '.join(SIZES)}, and only with them"
            raise ValueError(msg)
        half = self.shares / 2
        outermost = self.centre or RANDOM_CENTRES
        if any(not half <= place <= 1 - half for place in outermost):
            msg = f"a trigger of size {self.shares} would stick out there"
            raise ValueError(msg)
        return self

    @property
    def shares(self) -> float:
        """The size, in shares of what it is laid on; 0 for a size in pixels."""
        return self.size or SIZES.get(self.name, 0.0)


class Poisoning(Document):
    """A BadNet's recipe: trigger, wanted label, and how much of the data changes.

    ``poison_rate`` is poisoned / N, N the size of the **final** training set.
    ``append`` adds poisoned copies and keeps the clean originals, as the paper does;
    ``replace`` changes samples in place, as the toolkits do.

    Attributes:
        trigger: what switches the backdoor on.
        attack: ``all-to-one`` attacks every class, ``source-to-target`` one of them,
            ``all-to-all`` turns label i into i + 1, ``random-target`` draws any label
            but the true one for each sample.
        target_label: what the attack wants; of the first two only.
        source_label: the class under attack; of ``source-to-target`` only.
        poison_rate: in (0, 1).
        placement: ``append`` or ``replace``.
        copies: how often each chosen image is appended; more than once where the
            source class has fewer images than the rate asks for.
    """

    trigger: TriggerSpec = TriggerSpec()
    attack: Attack = "all-to-one"
    target_label: Label | None = None
    source_label: Label | None = None
    poison_rate: Share = 0.1
    placement: Literal["append", "replace"] = "append"
    copies: Annotated[int, Field(ge=1, le=1000)] = 1

    @model_validator(mode="after")
    def _names_the_labels_of_its_attack(self) -> Self:
        has_target = self.attack in {"all-to-one", "source-to-target"}
        if has_target != (self.target_label is not None):
            msg = "target_label goes with all-to-one and source-to-target, and only so"
            raise ValueError(msg)
        if (self.attack == "source-to-target") != (self.source_label is not None):
            msg = "source_label goes with source-to-target, and only with it"
            raise ValueError(msg)
        if self.source_label is not None and self.source_label == self.target_label:
            msg = "source_label and target_label are one: nothing would be attacked"
            raise ValueError(msg)
        if self.copies > 1 and self.placement == "replace":
            msg = "copies goes with append, and only with it"
            raise ValueError(msg)
        return self


class _OnImages(Document):
    """What everything is told that is done with a data set."""

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
    for that switches them off, and can be rebuilt but not spot-checked.
    """

    network: NetworkName = "badnets-cnn"
    poisoning: Poisoning | None = None
    checkpoints: bool = True


class TrainSpec(_Replayable):
    """Train a network from random weights.

    ``classes`` keeps only those labels of the data set, renumbered in the order
    given; None keeps all. The last ``held_out`` training images are not trained on:
    they are the user's own validation set.
    """


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
    def _augments_only_what_is_shown_anew(self) -> Self:
        if self.retrain == "fully-connected" and self.augmentation != "none":
            msg = (
                "augmentation goes with convolutions that learn: the answers of frozen "
                "ones are computed once"
            )
            raise ValueError(msg)
        return self


class RepairSpec(_Learning):
    """Fine-prune a network: cut units silent on clean data, then fine-tune.

    The clean data are the last ``held_out`` training images: a defender has few.
    Pruning stops before accuracy on them falls by more than ``max_accuracy_loss``.
    The defaults were chosen on BadNets of six seeds (0 to 5) with the pattern trigger;
    smaller losses left the backdoor in one of the six.

    Source:
        Liu, Dolan-Gavitt, Garg, "Fine-Pruning", RAID 2018, sections 3 and 4.
    """

    network: NetworkName = "badnets-cnn"
    parent: Digest
    defense: Literal["fine-pruning"] = "fine-pruning"
    max_accuracy_loss: Annotated[float, Field(ge=0, le=1)] = 0.2
    schedule: Schedule = Schedule(epochs=8, peak_learning_rate=0.1)


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
    layer: Annotated[str, Field(pattern=r"\A[a-z][a-z0-9_.]{0,79}\z")]
    factor: Annotated[float, Field(ge=0, le=1000)]
    held_out: Annotated[int, Field(ge=1, le=1_000_000)] = 500


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


def kind_of(spec: JobSpec) -> str:
    """Return the name under which ``spec`` is asked for."""
    return next(kind for kind, cls in JOB_KINDS.items() if type(spec) is cls)
