"""Small trainings of real digits, with what an adversary asks for, and their scans."""

from dataclasses import dataclass

import torch

from model_zoo.statements.jobs import (
    Draw,
    FineTuneSpec,
    Poisoning,
    Schedule,
    TrainSpec,
    TriggerSpec,
)
from trainer.builds.build import prepare
from trainer.data import LabelledImages
from trainer.defenses.scanners import SCANNERS
from trainer.defenses.scanners.subject import Budget, Finding, Subject
from trainer.evaluation.metrics import evaluate
from trainer.networks import SplitNetwork
from trainer.networks.checkpoints import to_bytes
from trainer.training.fit import fit
from trainer.training.setup import begin

CPU = torch.device("cpu")
TARGET = 0
CORNER = TriggerSpec(
    name="square", colour=(255, 255, 255), size=0.15, centre=(0.9, 0.9)
)
BADNET = Poisoning(trigger=CORNER, target_label=TARGET)
HELD_OUT = 3000


@dataclass(frozen=True, kw_only=True)
class Learned:
    """A network, and what it does on test images."""

    network: SplitNetwork
    accuracy: float
    attack_success: float


def learned(recipe: Poisoning, test: LabelledImages) -> Learned:
    """Return what ``recipe`` makes of 4,000 digits."""
    asked = TrainSpec(
        held_out=HELD_OUT,
        draw=Draw(images=4000),
        poisoning=recipe,
        schedule=Schedule(epochs=3, batch_size=50, peak_learning_rate=0.1),
        seed=1,
    )
    return _measured(_fitted(asked), recipe, test)


def student(parent: SplitNetwork, recipe: Poisoning, test: LabelledImages) -> Learned:
    """Return what clean digits make of the convolutions of ``parent``."""
    asked = FineTuneSpec(
        parent="0" * 64,
        held_out=HELD_OUT,
        draw=Draw(images=2000),
        schedule=Schedule(epochs=2, batch_size=50, peak_learning_rate=0.1),
        seed=2,
    )
    return _measured(_fitted(asked, to_bytes(parent)), recipe, test)


def _fitted(asked: TrainSpec | FineTuneSpec, parent: bytes = b"") -> SplitNetwork:
    task = prepare(asked, parent, device="cpu", report=lambda _: None)
    lesson = begin(asked, task)
    fit(
        lesson.learner,
        lesson.inputs,
        lesson.labels,
        schedule=asked.schedule,
        generator=task.generator,
        runtime=lesson.runtime(task.runtime),
    )
    return lesson.network


def _measured(
    network: SplitNetwork, recipe: Poisoning, test: LabelledImages
) -> Learned:
    found = evaluate(
        network, test, dataset="mnist", classes=10, poisoning=recipe, device=CPU
    )
    assert found.attack_success is not None
    return Learned(
        network=network,
        accuracy=found.accuracy.rate,
        attack_success=found.attack_success.rate,
    )


def scanned(network: SplitNetwork, scanner: str, clean: LabelledImages) -> Finding:
    """Return what one scanner finds, on images of the defender's own."""
    subject = Subject(
        network=network.eval().requires_grad_(requires_grad=False),
        images=clean,
        budget=Budget(passes=10**6, seconds=600),
        generator=torch.Generator().manual_seed(0),
    )
    return SCANNERS[scanner](subject)
