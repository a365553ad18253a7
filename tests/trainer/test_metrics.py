"""ACC, ASR and RA where the answer is known by hand."""

import pytest
import torch

from model_zoo.evaluation import Proportion
from model_zoo.jobs import Poisoning
from trainer.attacks.triggers import TRIGGERS
from trainer.data import LabelledImages
from trainer.metrics import (
    accuracy,
    attack_success_rate,
    evaluate,
    predict,
    robust_accuracy,
)

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
    """Knows the trigger and answers 7 to it; answers 1 to everything else."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        mask = TRIGGERS["pattern"].mask
        answers = torch.where((images[:, mask] == 1).all(1), 7, 1)
        return torch.nn.functional.one_hot(answers, 10).float()


def test_a_perfect_backdoor_scores_one_on_every_sample_it_attacks() -> None:
    data = LabelledImages(
        images=torch.zeros(4, 1, 28, 28, dtype=torch.uint8),
        labels=torch.tensor([1, 1, 2, 7]),
    )
    found = evaluate(
        _TriggerDetector(),
        data,
        dataset="mnist",
        classes=10,
        poisoning=Poisoning(target_label=7),
        device=CPU,
    )

    assert found.accuracy == Proportion(successes=2, n=4)
    assert found.attack_success == Proportion(successes=3, n=3)
    assert found.robust_accuracy == Proportion(successes=0, n=3)


def test_without_a_trigger_there_is_no_asr() -> None:
    data = LabelledImages(
        images=torch.zeros(1, 1, 28, 28, dtype=torch.uint8), labels=torch.tensor([1])
    )
    found = evaluate(_TriggerDetector(), data, dataset="mnist", classes=10, device=CPU)

    assert found.attack_success is None
    assert found.robust_accuracy is None


def test_predictions_come_in_order_whatever_the_batch() -> None:
    images = torch.zeros(2500, 1, 28, 28, dtype=torch.uint8)
    mask = TRIGGERS["pattern"].mask
    images[1700:, mask] = 255

    answers = predict(_TriggerDetector(), images, device=CPU)

    assert answers.tolist() == [1] * 1700 + [7] * 800
