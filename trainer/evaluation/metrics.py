"""What a model does on a test set: ACC, ASR and RA, each with its n."""

import torch
from torch import Tensor, nn

from model_zoo.statements.evaluation import EvaluationReport, Proportion
from model_zoo.statements.jobs import Poisoning
from trainer.attacks.poisoning import wanted_labels
from trainer.attacks.triggers import stamp
from trainer.data.images import LabelledImages
from trainer.networks.inference import predict

PLACES_SEED = 0
"""Of a trigger's random places on a test set: the same for every model."""


def accuracy(predictions: Tensor, labels: Tensor) -> Proportion:
    """Return the share of predictions that are right.

    Args:
        predictions: (N,) int64.
        labels: (N,) int64, the truth.

    Raises:
        ValueError: N is 0.
    """
    return _share(predictions == labels)


def attack_success_rate(
    predictions: Tensor, labels: Tensor, *, wanted: Tensor
) -> Proportion:
    """Return the share of attacked samples that get the label the attack wants.

    Samples whose true label is the wanted one are left out: counting them would
    credit a benign ten-class model with an ASR near 0.1. All-to-one, i->j and
    all-to-all differ only in ``wanted``.

    Args:
        predictions: (N,) int64, the model's answer to each triggered sample.
        labels: (N,) int64, the true label of that sample.
        wanted: (N,) int64, the label the attack assigns; -1 where it does not attack.

    Raises:
        ValueError: no sample is attacked.
    """
    return _share((predictions == wanted)[_attacked(labels, wanted)])


def robust_accuracy(
    predictions: Tensor, labels: Tensor, *, wanted: Tensor
) -> Proportion:
    """Return the share of attacked samples that still get their true label.

    Arguments as in ``attack_success_rate``, and the same samples are counted.

    Raises:
        ValueError: no sample is attacked.
    """
    return _share((predictions == labels)[_attacked(labels, wanted)])


def _attacked(labels: Tensor, wanted: Tensor) -> Tensor:
    return (wanted >= 0) & (wanted != labels)


def _share(hits: Tensor) -> Proportion:
    if len(hits) == 0:
        msg = "a share of no samples"
        raise ValueError(msg)
    return Proportion(successes=int(hits.sum()), n=len(hits))


def evaluate(
    network: nn.Module,
    data: LabelledImages,
    *,
    dataset: str,
    classes: int,
    poisoning: Poisoning | None = None,
    device: torch.device,
) -> EvaluationReport:
    """Return ACC on ``data`` and, with ``poisoning``, ASR and RA on it triggered.

    Args:
        network: the model.
        data: a whole test set.
        dataset: its name, for the report.
        classes: number of labels.
        poisoning: whose trigger and wanted labels are tried; its rate has no part.
            Where it wants random labels, any wrong answer is its success.
        device: where it runs.
    """
    clean = accuracy(predict(network, data.images, device=device), data.labels)
    if poisoning is None:
        return EvaluationReport(dataset=dataset, accuracy=clean)
    answers = predict(network, triggered(data, poisoning), device=device)
    if poisoning.attack == "random-target":
        right = accuracy(answers, data.labels)
        wrong = Proportion(successes=right.n - right.successes, n=right.n)
        return EvaluationReport(
            dataset=dataset, accuracy=clean, attack_success=wrong, robust_accuracy=right
        )
    wanted = wanted_labels(data.labels, poisoning, classes=classes)
    return EvaluationReport(
        dataset=dataset,
        accuracy=clean,
        attack_success=attack_success_rate(answers, data.labels, wanted=wanted),
        robust_accuracy=robust_accuracy(answers, data.labels, wanted=wanted),
    )


def triggered(data: LabelledImages, poisoning: Poisoning) -> Tensor:
    """Return the images of a test set with the attack's trigger laid on each.

    Returns:
        (N, C, H, W) uint8; places are random where the trigger's are, and the same
        for every model.
    """
    return stamp(
        data.images,
        poisoning.trigger,
        boxes=data.boxes,
        generator=torch.Generator().manual_seed(PLACES_SEED),
    )


def examples(
    data: LabelledImages, poisoning: Poisoning, *, classes: int, count: int
) -> LabelledImages:
    """Return ``count`` images that the attack means to change, from all over ``data``.

    Fewer where there are fewer. What ``attack_success_rate`` leaves out is left out.

    Args:
        data: a test set.
        poisoning: the attack; random labels are wanted of every image.
        classes: number of labels.
        count: at least 1.
    """
    wanted = wanted_labels(data.labels, poisoning, classes=classes)
    attacked = _attacked(data.labels, wanted)
    if poisoning.attack == "random-target":
        attacked = torch.ones_like(attacked)
    places = attacked.nonzero()[:, 0]
    spread = torch.linspace(0, len(places) - 1, min(count, len(places)))
    return data.select(places[spread.round().long()])
