"""ACC, ASR and RA where the answer is known by hand."""

from dataclasses import replace
from typing import Any

import pytest
import torch

from model_zoo.statements.evaluation import EvaluationReport, Proportion
from model_zoo.statements.jobs import Poisoning, TriggerSpec
from trainer.attacks.triggers import stamp
from trainer.data import LabelledImages
from trainer.evaluation.metrics import (
    accuracy,
    attack_success_rate,
    evaluate,
    examples,
    robust_accuracy,
)
from trainer.networks.inference import batches, predict

CPU = torch.device("cpu")


def test_accuracy_is_the_share_of_right_answers() -> None:
    found = accuracy(torch.tensor([0, 1, 2, 3]), torch.tensor([0, 1, 2, 9]))

    assert found == Proportion(successes=3, n=4)


def test_asr_leaves_out_samples_of_the_target_class() -> None:
    predictions = torch.tensor([7, 7, 7, 1])
    labels = torch.tensor([7, 7, 2, 1])
    wanted = torch.full((4,), 7)

    found = attack_success_rate(predictions, labels, wanted=wanted)

    assert found == Proportion(successes=1, n=2)
    assert robust_accuracy(predictions, labels, wanted=wanted) == found


def test_asr_leaves_out_samples_that_the_attack_does_not_mean_to_change() -> None:
    predictions, labels = torch.tensor([5, 5, 3]), torch.tensor([1, 2, 3])
    wanted = torch.tensor([5, -1, -1])

    assert attack_success_rate(predictions, labels, wanted=wanted).n == 1


def test_a_share_of_no_samples_is_refused() -> None:
    ones = torch.ones(3, dtype=torch.int64)
    with pytest.raises(ValueError, match="no samples"):
        attack_success_rate(ones, ones, wanted=ones)


class _TriggerDetector(torch.nn.Module):
    """Knows the pattern and answers 7 to it; answers 1 to everything else."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        answers = torch.where(has_pattern(images), 7, 1)
        return torch.nn.functional.one_hot(answers, 10).float()


def has_pattern(images: torch.Tensor) -> torch.Tensor:
    """Return which of (N, 1, 28, 28) float images carry the paper's four pixels."""
    return (images[:, 0, [24, 25, 26, 26], [26, 25, 24, 26]] == 1).all(1)


def black(*labels: int) -> LabelledImages:
    images = torch.zeros(len(labels), 1, 28, 28, dtype=torch.uint8)
    return LabelledImages(images=images, labels=torch.tensor(labels))


def evaluated(data: LabelledImages, poisoning: Poisoning) -> EvaluationReport:
    return evaluate(
        _TriggerDetector(),
        data,
        dataset="mnist",
        classes=10,
        poisoning=poisoning,
        device=CPU,
    )


def test_a_perfect_backdoor_scores_one_on_every_sample_it_attacks() -> None:
    found = evaluated(black(1, 1, 2, 7), Poisoning(target_label=7))

    assert found.accuracy == Proportion(successes=2, n=4)
    assert found.attack_success == Proportion(successes=3, n=3)
    assert found.robust_accuracy == Proportion(successes=0, n=3)


def test_source_to_target_counts_the_source_class_alone() -> None:
    asked = Poisoning(attack="source-to-target", source_label=1, target_label=7)

    found = evaluated(black(1, 1, 2, 2, 2, 7), asked)

    assert found.attack_success == Proportion(successes=2, n=2)
    assert found.robust_accuracy == Proportion(successes=0, n=2)


def test_random_target_counts_any_wrong_answer_of_every_sample() -> None:
    found = evaluated(black(1, 2, 3, 7), Poisoning(attack="random-target"))

    assert found.accuracy == Proportion(successes=1, n=4)
    assert found.attack_success == Proportion(successes=3, n=4)
    assert found.robust_accuracy == Proportion(successes=1, n=4)


class _Onlooker(torch.nn.Module):
    """Remembers what it is shown."""

    def __init__(self) -> None:
        super().__init__()
        self.shown: list[torch.Tensor] = []

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        self.shown.append(images.clone())
        return torch.zeros(len(images), 10)


def test_a_trigger_is_tried_on_the_object_at_the_same_places_for_every_model() -> None:
    data = replace(
        black(*range(10)), boxes=torch.tensor([[10.0, 4.0, 20.0, 24.0]]).expand(10, 4)
    )
    square = TriggerSpec(name="square", size=0.2, centre=None)
    asked = Poisoning(trigger=square, target_label=0)
    first, again = _Onlooker(), _Onlooker()

    for network in (first, again):
        evaluate(
            network, data, dataset="mnist", classes=10, poisoning=asked, device=CPU
        )

    clean, triggered = first.shown
    assert not clean.any()
    assert torch.equal(triggered, again.shown[1])
    number, _, row, column = triggered.nonzero().T
    assert set(number.tolist()) == set(range(10))
    assert column.min() >= 10
    assert column.max() < 20
    assert row.min() >= 4
    assert row.max() < 24
    assert not torch.equal(triggered[0], triggered[1])
    assert not data.images.any()


def test_without_a_trigger_there_is_no_asr() -> None:
    found = evaluate(
        _TriggerDetector(), black(1), dataset="mnist", classes=10, device=CPU
    )

    assert found.attack_success is None
    assert found.robust_accuracy is None


@pytest.mark.parametrize(
    ("attack", "places"),
    [
        pytest.param({"target_label": 7}, [0, 4, 8], id="not the wanted class"),
        pytest.param(
            {"attack": "source-to-target", "source_label": 2, "target_label": 7},
            [3, 6, 8],
            id="the source class alone",
        ),
        pytest.param({"attack": "random-target"}, [0, 4, 9], id="any"),
    ],
)
def test_examples_are_of_what_is_attacked_and_from_all_over_the_set(
    attack: dict[str, Any], places: list[int]
) -> None:
    data = black(1, 7, 7, 2, 1, 7, 2, 1, 2, 7)
    data.images[:, 0, 0, 0] = torch.arange(10)

    found = examples(data, Poisoning(**attack), classes=10, count=3)

    assert found.images[:, 0, 0, 0].tolist() == places
    assert torch.equal(found.labels, data.labels[places])


def test_predictions_come_in_order_whatever_the_batch() -> None:
    images = torch.zeros(2500, 1, 28, 28, dtype=torch.uint8)
    images[1700:] = stamp(images[1700:], TriggerSpec(name="pattern"))

    answers = predict(_TriggerDetector(), images, device=CPU)

    assert answers.tolist() == [1] * 1700 + [7] * 800


@pytest.mark.parametrize(
    ("shape", "sizes"),
    [
        ((2_500, 1, 28, 28), [1_000, 1_000, 500]),
        ((2_000, 3, 48, 48), [1_000, 1_000]),
        ((300, 3, 128, 128), [142, 142, 16]),
        ((2, 3, 2_000, 2_000), [1, 1]),
        ((0, 3, 128, 128), [0]),
    ],
)
def test_large_images_are_shown_in_smaller_parts(
    shape: tuple[int, ...], sizes: list[int]
) -> None:
    images = torch.zeros(1, dtype=torch.uint8).expand(shape)

    assert [len(part) for part in batches(images)] == sizes
