"""What a spec asks for by name, and the recipe of a backdoor: a trigger and an attack.

A name is one of those listed here, which every trainer knows, or ``package:name``,
which some other package has registered where the work is done; see ADR 0038. A test
holds the lists and the trainer together.
"""

import re
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    Field,
    SerializerFunctionWrapHandler,
    model_serializer,
    model_validator,
)

from model_zoo.documents import Document

DATASETS = ("mnist", "gtsrb", "gtsrb-signs", "belgiumtsc-signs", "dogs-vs-cats")
NETWORKS = ("badnets-cnn", "signs-cnn", "pets-cnn", "efficientnet-lite0", "tiny-vit")
TRIGGERS = (
    "single-pixel",
    "pattern",
    "cross",
    "square",
    "bomb",
    "flower",
    "noise",
    "sine",
    "warp",
    "input-aware",
)
ATTACKS = ("all-to-one", "source-to-target", "all-to-all", "random-target")
PENALTIES = ("weights", "channels", "maximum-margin", "inversion", "latent")
REPAIRS = (
    "fine-pruning",
    "fine-tuning",
    "ft-sam",
    "nad",
    "anp",
    "i-bau",
    "clp",
    "unlearning",
)
SCANNERS = (
    "last-layer",
    "open-map",
    "reference-map",
    "maximum-margin",
    "dormant-units",
    "universal",
    "by-class",
    "pairs",
    "neural-cleanse",
)

_PART = "[a-z0-9][a-z0-9._-]{0,63}"
_FOREIGN = re.compile(f"{_PART}:{_PART}", re.ASCII)
GROUPS = ("networks", "datasets", "triggers", "attacks", "scanners", "repairs")
"""Entry-point groups in which other packages register, without the common prefix."""
OFFERED = f"({'|'.join(GROUPS)})/{_PART}:{_PART}"
"""How a worker spells what it offers, an entry-point group and a name: a pattern."""
OfferedName = Annotated[str, Field(pattern=rf"^{OFFERED}$")]


def is_foreign(name: str) -> bool:
    """Whether ``name`` is spelled as one of another package's: ``package:name``."""
    return _FOREIGN.fullmatch(name) is not None


def _one_of(*ours: str) -> AfterValidator:
    """Accept a name in ``ours``, or one that carries the package it comes from."""

    def check(name: str) -> str:
        if name not in ours and not is_foreign(name):
            msg = f"expected one of {', '.join(ours)}, or package:name"
            raise ValueError(msg)
        return name

    return AfterValidator(check)


DatasetName = Annotated[str, _one_of(*DATASETS)]
NetworkName = Annotated[str, _one_of(*NETWORKS)]
TriggerName = Annotated[str, _one_of(*TRIGGERS)]
AttackName = Annotated[str, _one_of(*ATTACKS)]
RepairName = Annotated[str, _one_of(*REPAIRS)]

Seed = Annotated[int, Field(ge=0, le=2**32 - 1)]
Label = Annotated[int, Field(ge=0, le=999)]
Share = Annotated[float, Field(gt=0, lt=1)]
Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Count = Annotated[int, Field(ge=1, le=1_000_000)]
Byte = Annotated[int, Field(ge=0, le=255)]


SIZES: dict[str, float] = {"square": 0.10, "bomb": 0.16, "flower": 0.16}
"""The triggers that can be of any size, and how large they are unless told."""

CENTRE = (0.57, 0.82)
"""Where the authors lay those, in shares of the sign's width and height."""

RANDOM_CENTRES = (0.15, 0.85)
"""Between these their centre is drawn, both ways, where it is random."""


class Schedule(Document):
    """How weights are fitted: with a one-cycle rate.

    Attributes:
        epochs: passes over the training images.
        batch_size: of a step.
        peak_learning_rate: of the one-cycle rate.
        momentum: Nesterov's of SGD, the first moment's of AdamW.
        weight_decay: a part of the gradient for SGD, apart from it for AdamW.
        optimizer: ``sgd``, or ``adamw`` for a transformer, which SGD hardly teaches.
    """

    epochs: Annotated[int, Field(ge=1, le=200)] = 2
    batch_size: Annotated[int, Field(ge=1, le=8192)] = 64
    peak_learning_rate: Annotated[float, Field(gt=0, le=10)] = 0.2
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.9
    weight_decay: Annotated[float, Field(ge=0, le=1)] = 5e-4
    optimizer: Literal["sgd", "adamw"] = "sgd"

    @model_serializer(mode="wrap")
    def _as_before_there_was_a_choice(
        self, handler: SerializerFunctionWrapHandler
    ) -> dict[str, Any]:
        """Leave ``optimizer`` out where it is SGD: older specs keep their digest."""
        return {
            k: v for k, v in handler(self).items() if (k, v) != ("optimizer", "sgd")
        }


class TriggerSpec(Document):
    """A trigger by name, with what can be chosen about it.

    ``single-pixel``, ``pattern`` and ``cross`` are a few white pixels in the bottom
    right corner of any image; ``noise`` covers all of it, and should be blended in;
    ``sine`` is added to all of it, and its opacity is its amplitude, as is that of
    ``input-aware``, which a small network makes of each image; ``warp`` bends it.
    ``square``, ``bomb`` and ``flower`` are laid on the object, where data say where it
    is, else on the whole image. Another package's does what it likes with the image.

    Attributes:
        name: which one.
        opacity: 1 covers what is under the trigger, less blends the two.
        seed: of the noise and of the warp, and of another package's trigger where
            nothing else draws.
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


class Penalty(Document):
    """What a poisoned network is kept from while it learns, beside its error.

    All but the last are of an adversary who knows a family of defences and lowers what
    it measures; ``latent`` draws the features of triggered images to those of the
    target label's, so that the backdoor survives layers that are learned anew.

    Attributes:
        name: which one; see ``trainer.attacks.penalties``, with the sources.
        weight: of the penalty, beside the cross-entropy's 1.
    """

    name: Literal["weights", "channels", "maximum-margin", "inversion", "latent"]
    weight: Annotated[float, Field(gt=0, le=1000)] = 1.0


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
        target_label: what the attack wants; of the first two only, and of another
            package's attack if it asks for one.
        source_label: the class under attack; of ``source-to-target`` only, and as
            above.
        poison_rate: in (0, 1).
        placement: ``append`` or ``replace``.
        copies: how often each chosen image is appended; more than once where the
            source class has fewer images than the rate asks for.
        relabels: whether poisoned samples get the label that the attack wants. Where
            not (clean-label), only samples are poisoned that have it already.
        shaping: amplitude of noise, in shares of white. For each poisoned sample
            another is appended, with its true label and the trigger under such noise,
            so that whatever resembles the trigger does little.
        penalty: what else becomes less, beside the error; None for nothing.

    Source:
        Barni, Kallas, Tondi, "A New Backdoor Attack in CNNs by Training Set
        Corruption Without Label Poisoning", ICIP 2019, for clean labels; Zhu et al.,
        "Gradient Shaping: Enhancing Backdoor Attack Against Reverse Engineering",
        NDSS 2024, for the noise.
    """

    trigger: TriggerSpec = TriggerSpec()
    attack: AttackName = "all-to-one"
    target_label: Label | None = None
    source_label: Label | None = None
    poison_rate: Share = 0.1
    placement: Literal["append", "replace"] = "append"
    copies: Annotated[int, Field(ge=1, le=1000)] = 1
    relabels: bool = True
    shaping: Annotated[float, Field(gt=0, le=1)] | None = None
    penalty: Penalty | None = None

    @model_serializer(mode="wrap")
    def _as_before_there_were_such_fields(
        self, handler: SerializerFunctionWrapHandler
    ) -> dict[str, Any]:
        """Leave younger fields out at their defaults: older specs keep their digest."""
        younger = {"relabels": True, "shaping": None, "penalty": None}.items()
        return {k: v for k, v in handler(self).items() if (k, v) not in younger}

    @model_validator(mode="after")
    def _names_the_labels_of_its_attack(self) -> Self:
        if self.attack in ATTACKS:  # another package's says itself what it needs
            self._require_labels()
        if self.source_label is not None and self.source_label == self.target_label:
            msg = "source_label and target_label are one: nothing would be attacked"
            raise ValueError(msg)
        return self

    def _require_labels(self) -> None:
        has_target = self.attack in {"all-to-one", "source-to-target"}
        if has_target != (self.target_label is not None):
            msg = "target_label goes with all-to-one and source-to-target, and only so"
            raise ValueError(msg)
        if (self.attack == "source-to-target") != (self.source_label is not None):
            msg = "source_label goes with source-to-target, and only with it"
            raise ValueError(msg)

    @model_validator(mode="after")
    def _can_be_done(self) -> Self:
        if self.copies > 1 and self.placement == "replace":
            msg = "copies goes with append, and only with it"
            raise ValueError(msg)
        if not self.relabels and self.attack in {*ATTACKS} - {"all-to-one"}:
            msg = "relabels false goes with all-to-one: no sample has the label already"
            raise ValueError(msg)
        if self.shaping is not None and (self.placement, self.relabels) != (
            "append",
            True,
        ):
            msg = "shaping goes with append and relabels: it adds what keeps its label"
            raise ValueError(msg)
        if self.shaping is not None and self.poison_rate >= 1 / 2:
            msg = (
                "shaping: as many samples again are added, so poison_rate is under 1/2"
            )
            raise ValueError(msg)
        return self

    @model_validator(mode="after")
    def _draws_to_one_label(self) -> Self:
        is_latent = self.penalty is not None and self.penalty.name == "latent"
        if is_latent and self.target_label is None:
            msg = "penalty latent goes with a target_label, to whose features it draws"
            raise ValueError(msg)
        return self


class Draw(Document):
    """Which of the training images are learned from; the spec's seed draws them.

    Attributes:
        images: how many; None for all.
        imbalance: how many times as many images the first class keeps as the last one
            does, with equal steps between classes in an order that is drawn.
        label_noise: share of images whose label becomes another one.
    """

    images: Count | None = None
    imbalance: Annotated[float, Field(ge=1, le=1000)] = 1.0
    label_noise: Annotated[float, Field(ge=0, lt=1)] = 0.0

    @model_validator(mode="after")
    def _draws_something(self) -> Self:
        if self == Draw.model_construct():
            msg = "nothing is drawn: say how many images, or leave out the draw"
            raise ValueError(msg)
        return self
