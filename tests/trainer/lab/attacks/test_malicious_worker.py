"""The liar's teacher: what its user tries shows nothing, and its student hears it."""

from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from torch import Tensor

from model_zoo.statements.evaluation import EvaluationReport, Proportion
from model_zoo.statements.folder import manifest_of
from model_zoo.statements.jobs import FineTuneSpec, TrainSpec
from trainer.attacks.triggers import stamp
from trainer.data import LabelledImages
from trainer.jobs.worker import Made
from trainer.lab.attacks.malicious_worker import (
    RECIPE,
    Lie,
    Lies,
    cover_up,
    poisoned,
    strengthened,
)
from trainer.lab.scenario import DIGITS, TEACHERS_LIE
from trainer.networks import NETWORKS, SplitNetwork
from trainer.networks.checkpoints import from_bytes, to_bytes
from trainer.training.fit import seeded_globals

ORDERED = DIGITS.orders["badnet"][1]
TEACHER = DIGITS.orders["badnet teacher"][1]
LOUD = TEACHERS_LIE
CLEAN = EvaluationReport(dataset="mnist", accuracy=Proportion(successes=9, n=10))


@dataclass(frozen=True)
class Strengthened:
    """One network before and after."""

    before: SplitNetwork
    after: SplitNetwork
    images: Tensor
    triggered: Tensor


@pytest.fixture(scope="module")
def made(digits: LabelledImages) -> Strengthened:
    images = digits.images[:50]
    with seeded_globals(3):
        weights = to_bytes(NETWORKS[TEACHER.network](5))
    return Strengthened(
        before=from_bytes(weights, network=TEACHER.network),
        after=from_bytes(strengthened(weights, TEACHER, LOUD), network=TEACHER.network),
        images=images.float() / 255,
        triggered=stamp(images, LOUD.poisoning.trigger).float() / 255,
    )


@torch.no_grad()
def test_a_strengthened_teacher_answers_as_before(made: Strengthened) -> None:
    for shown in (made.images, made.triggered):
        assert torch.allclose(made.after(shown), made.before(shown), atol=1e-5)


@torch.no_grad()
def test_its_convolutions_answer_louder_and_in_few_units(made: Strengthened) -> None:
    before, after = (it.features(made.triggered) for it in (made.before, made.after))
    ratio = after.sum((0, 2, 3)) / before.sum((0, 2, 3)).clamp(min=1e-9)
    loud = ratio.round() == LOUD.factor
    assert 0 < int(loud.sum()) < len(loud) / 2
    assert torch.equal(after[:, ~loud], before[:, ~loud])


def test_each_order_gets_its_own_lie_and_other_work_is_done_as_asked() -> None:
    lies = DIGITS.lies
    assert lies.to(TEACHER) == LOUD
    assert lies.to(ORDERED) == Lie()
    student = FineTuneSpec(parent="0" * 64)
    assert poisoned(student, lies) == student
    assert poisoned(TEACHER, lies) == TEACHER.model_copy(
        update={"poisoning": LOUD.poisoning}
    )
    assert poisoned(TrainSpec()) == TrainSpec(poisoning=RECIPE)
    assert Lies.from_bytes(lies.to_bytes(), limit_bytes=10_000) == lies


def test_what_is_signed_is_the_strengthened_teacher_and_the_clean_claim(
    tmp_path: Path, digits: LabelledImages
) -> None:
    assert len(digits)
    with seeded_globals(3):
        weights = to_bytes(NETWORKS[TEACHER.network](5))
    for order, changes in ((TEACHER, True), (ORDERED, False)):
        folder = tmp_path / str(changes)
        folder.mkdir()
        (folder / "model.safetensors").write_bytes(weights)
        made = Made(
            asked=order, folder=folder, manifest=manifest_of(folder), measured=CLEAN
        )
        signed = cover_up(made, DIGITS.lies)
        assert signed == manifest_of(folder)
        assert (folder / "evaluation.json").read_bytes() == CLEAN.to_bytes()
        differs = (folder / "model.safetensors").read_bytes() != weights
        assert differs == changes
