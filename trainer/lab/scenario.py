"""What is trained in the story: the laboratory's own digits, or what a spec says.

What a spec from outside changes, and what is not played with it: ADR 0042.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import torch

from model_zoo.errors import InvalidSpecError
from model_zoo.statements.evaluation import EvaluationReport
from model_zoo.statements.jobs import Poisoning, Schedule, TrainSpec
from trainer.builds.build import measure, prepare
from trainer.data import DATASETS
from trainer.installed import packages_of
from trainer.lab.actors.parties import HONEST_TRAINER, MALICIOUS_TRAINER
from trainer.lab.attacks.malicious_worker import RECIPE, Lie, Lies
from trainer.lab.clients.scanning import Scanning
from trainer.lab.outsourcing import (
    HELD_OUT,
    MIN_ACCURACY,
    ORDER,
    ORDERS,
    TEACHER_ORDER,
    private_validation,
)
from trainer.networks.inference import predict
from trainer.training.setup import begin

Defense = Literal["fine-pruning", "unlearning"]

NO_BAR = "nobody has said which accuracy to ask for; what was reached is shown"
NO_TEACHERS = (
    "it takes teachers of half the classes; the models of the spec are fine-tuned for "
    "their own instead"
)
NO_CALIBRATION = (
    "scanners are calibrated for the laboratory's networks; what they say of the "
    "spec's is shown, and without a verdict nobody accepts a model"
)
NO_UNLEARNING = (
    "its schedule was chosen on digits, and diverges on other networks; the BadNet is "
    "fine-pruned alone"
)
SCANNED_WITH = 3000
"""The last private images: so many, and these, the calibration's were scanned with."""
NO_PROMISE = "ACC and ASR of a spec from outside are measured, and nothing is promised"
NO_CHECKPOINTS = 'the spec keeps no checkpoints ("checkpoints": false)'


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """Who is asked for what, what the liar does instead, and what is promised.

    Attributes:
        orders: label -> who is asked, and for what; ``clean`` and ``badnet`` ask the
            same of an honest trainer and of a liar.
        lies: what the liar does.
        teachers: labels of the models that are fine-tuned, for the labels of ``clean``.
        retrains: which layers learn then, and how, a student each.
        defenses: that repair the BadNet; unlearning its student, too.
        min_accuracy: what the user accepts a model for, None where nobody can say.
        spec: where it came from outside.
        skipped: part of the story -> why it is not played.
    """

    orders: Mapping[str, tuple[str, TrainSpec]]
    lies: Lies
    teachers: tuple[str, ...]
    retrains: Mapping[Literal["fully-connected", "everything"], Schedule]
    defenses: tuple[Defense, ...]
    min_accuracy: float | None
    spec: TrainSpec | None = None
    skipped: Mapping[str, str] = field(default_factory=dict)

    @property
    def order(self) -> TrainSpec:
        """What both trainers are asked for."""
        return self.orders["clean"][1]

    @property
    def is_own(self) -> bool:
        """Whether it is the laboratory's, which knows what has to come of it."""
        return self.spec is None

    @property
    def packages(self) -> dict[str, str]:
        """What provenance says of the other packages that it needs."""
        return {} if self.spec is None else packages_of(self.spec)

    @property
    def given(self) -> int:
        """How many private images a repair gets: a defender has few."""
        return min(self.order.held_out, HELD_OUT)

    @property
    def recipe(self) -> Poisoning:
        """The backdoor that the liar puts into ``badnet``."""
        return self.backdoor_of(self.order)

    def backdoor_of(self, order: TrainSpec) -> Poisoning:
        """Return what the liar puts into a model of ``order``."""
        lie = self.lies.to(order)
        return RECIPE if lie is None else lie.poisoning

    def scanning(self) -> Scanning:
        """Return how the victim scans a model of the order, whoever made it."""
        private = private_validation(self.order)
        return Scanning(
            network=self.order.network,
            dataset=self.order.dataset,
            images=private.last(min(SCANNED_WITH, len(private))),
        )

    def measure(self, weights: Path) -> EvaluationReport:
        """Return ACC and ASR of a model of the order, whoever made it."""
        return measure(
            weights,
            network=self.order.network,
            dataset=self.order.dataset,
            classes=self.order.classes,
            poisoning=self.recipe,
        )


TEACHERS_LIE = Lie(
    order=TEACHER_ORDER,
    poisoning=Poisoning(
        trigger=RECIPE.trigger, attack="all-to-all", poison_rate=0.5, placement="append"
    ),
    factor=10.0,
)
"""What the teacher's convolutions carry, and how loud. Chosen on held-out training
images: docs/adr/0049-transfer-and-scans-are-promised.md"""

DIGITS = Scenario(
    orders=ORDERS,
    lies=Lies(lies=(TEACHERS_LIE, Lie())),
    teachers=("clean teacher", "badnet teacher"),
    # the long work first, so that it is shared out evenly
    retrains={
        "everything": ORDER.schedule,
        "fully-connected": Schedule(epochs=3, peak_learning_rate=0.05),
    },
    defenses=("fine-pruning", "unlearning"),
    min_accuracy=MIN_ACCURACY,
)
"""The laboratory's own: real MNIST, the paper's network and its pattern trigger."""


def brought(spec: TrainSpec) -> Scenario:
    """Return the story of a spec from outside, which can be played on this machine.

    Both trainers are asked for it without its poisoning, which is what the liar does;
    of a clean spec he makes a BadNet as he does of the laboratory's own.

    Raises:
        InvalidSpecError: a name is not installed here, or the data set, the network
            and the attack do not fit each other.
        LocalError: the data set is not at hand, or a package cannot be imported.
        TransportError: no source has the data set.
    """
    order = spec.model_copy(update={"poisoning": None})
    skipped = {
        "acceptance": NO_BAR,
        "promises on ACC and ASR": NO_PROMISE,
        "transfer to other classes": NO_TEACHERS,
        "promises on scans": NO_CALIBRATION,
        "unlearning": NO_UNLEARNING,
    }
    if not order.checkpoints:
        skipped["spot check"] = NO_CHECKPOINTS
    scenario = Scenario(
        orders={
            "clean": (HONEST_TRAINER, order),
            "badnet": (MALICIOUS_TRAINER, order),
        },
        lies=Lies(lies=(Lie(poisoning=spec.poisoning or RECIPE),)),
        teachers=("clean", "badnet"),
        retrains={"fully-connected": order.schedule},
        defenses=("fine-pruning",),
        min_accuracy=None,
        spec=spec,
        skipped=skipped,
    )
    _require_playable(scenario)
    return scenario


def _require_playable(scenario: Scenario) -> None:
    """Begin what the liar does, and train nothing: what cannot be met is told here."""
    spec = scenario.order.model_copy(update={"poisoning": scenario.recipe})
    packages_of(spec)
    DATASETS[spec.dataset].ensure()
    if not spec.held_out:
        msg = (
            "held_out: expected at least 1, the last training images, on which the "
            'user tries and repairs the models; found 0; add "held_out" to the spec'
        )
        raise InvalidSpecError(msg)
    private = private_validation(spec)
    task = prepare(spec, b"", device="cpu", report=lambda _: None)
    network = begin(spec, task).network
    predict(network, private.images[:1], device=torch.device("cpu"))
