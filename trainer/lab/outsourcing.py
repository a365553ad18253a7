"""Outsourced training: one order to two trainers, one of whom lies.

Source:
    Gu et al., "BadNets", section 2: the user sends a specification and data, holds
    back a validation set of its own, and accepts what reaches the accuracy asked for.
"""

from dataclasses import dataclass
from pathlib import Path

import torch

from model_zoo.statements.evaluation import EvaluationReport, Proportion
from model_zoo.statements.intoto import Provenance
from model_zoo.statements.jobs import Poisoning, TrainSpec
from trainer.builds.build import measure
from trainer.data import DATASETS, LabelledImages
from trainer.evaluation.acceptance import validate
from trainer.jobs.attempt import MODEL
from trainer.jobs.rebuild import Rebuilt, draw, spot_check
from trainer.lab.actors.parties import HONEST_TRAINER, MALICIOUS_TRAINER
from trainer.lab.orders import OrderBook

HELD_OUT = 5000
MIN_ACCURACY = 0.97
CHECKED_SEGMENTS = 1
TEACHER_CLASSES = (0, 1, 2, 3, 4)

ORDER = TrainSpec(held_out=HELD_OUT, seed=1708)
"""What the user asks for; the last 5,000 training images stay private."""
TEACHER_ORDER = TrainSpec(
    held_out=HELD_OUT,
    classes=TEACHER_CLASSES,
    seed=6733,
)

ORDERS: dict[str, tuple[str, TrainSpec]] = {
    "clean": (HONEST_TRAINER, ORDER),
    "badnet": (MALICIOUS_TRAINER, ORDER),
    "clean teacher": (HONEST_TRAINER, TEACHER_ORDER),
    "badnet teacher": (MALICIOUS_TRAINER, TEACHER_ORDER),
}
"""Label -> who is asked, and for what: the same of both."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outsourced:
    """One trained model: what was claimed, what the user saw, what is true.

    ``accepted_on`` is accuracy on the user's private validation set, ``truth`` what
    the laboratory, which knows the trigger, measures on the test set.
    """

    label: str
    trainer: str
    job: str
    folder: Path
    spec: TrainSpec
    provenance: Provenance
    claimed: EvaluationReport
    accepted_on: Proportion
    truth: EvaluationReport

    def reaches(self, min_accuracy: float) -> bool:
        """Whether the user's check passes who asks for so much."""
        low, _ = self.accepted_on.wilson()
        return low >= min_accuracy


def receive(
    book: OrderBook, label: str, order: tuple[str, TrainSpec], *, recipe: Poisoning
) -> Outsourced:
    """Fetch a finished draft as its user does: verified, then tried on private data.

    Args:
        book: in which it was ordered.
        label: under which.
        order: who was asked, and for what.
        recipe: the backdoor of which the laboratory looks for traces.
    """
    trainer, spec = order
    job = book.zoo.job(book.jobs[label])
    folder = book.fetch(label)
    return Outsourced(
        label=label,
        trainer=trainer,
        job=job.id,
        folder=folder,
        spec=spec,
        provenance=book.provenances[label],
        claimed=EvaluationReport.from_object(job.claimed_evaluation),
        accepted_on=validate(
            folder / MODEL, private_validation(spec), network=spec.network
        ),
        truth=measure(
            folder / MODEL,
            network=spec.network,
            dataset=spec.dataset,
            classes=spec.classes,
            poisoning=recipe,
        ),
    )


def spot_checked(model: Outsourced) -> Rebuilt:
    """Return what comes of training a part again, drawn when all is signed.

    It needs no trigger and suspects none: a model that came of the order comes of it
    again, to the last bit, and no other does.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # as workers do; part of the result
    try:
        segments = draw(model.provenance, CHECKED_SEGMENTS)
        return spot_check(model.folder, model.provenance, segments=segments)
    finally:
        torch.set_num_threads(threads)


def private_validation(spec: TrainSpec) -> LabelledImages:
    """Return the images that the order held back, of the classes it names."""
    private = DATASETS[spec.dataset].load("train").last(spec.held_out)
    return private.keep_classes(spec.classes) if spec.classes else private
