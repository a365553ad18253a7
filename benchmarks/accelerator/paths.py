"""Every path of the trainer on the device against the CPU, and twice on the device."""

import copy
import math
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from benchmarks.accelerator.inputs import (
    Place,
    digits,
    fitted,
    fresh,
    noise,
    runtime,
    scenes,
)
from model_zoo.canonical import JsonObject
from model_zoo.digests import sha256_bytes
from model_zoo.statements.jobs import (
    DetectorSpec,
    Poisoning,
    Precision,
    Schedule,
    TriggerSpec,
)
from trainer.attacks.poisoning import poison
from trainer.attacks.triggers import stamp
from trainer.data import LabelledImages
from trainer.defenses.repairs.fine_pruning import fine_prune
from trainer.evaluation.metrics import evaluate
from trainer.networks import NETWORKS, SplitNetwork
from trainer.networks.activations import mean_activations
from trainer.networks.checkpoints import to_bytes
from trainer.object_detection.evaluation import detect
from trainer.object_detection.network import Detector
from trainer.object_detection.training import trained
from trainer.training.augmentation import MOTIONS, moved
from trainer.training.fit import seeded_globals
from trainer.training.transfer import features, student_of

CPU = torch.device("cpu")
RECIPE = Poisoning(target_label=1, poison_rate=0.1, placement="replace")
IMAGES, QUICK_IMAGES = 6000, 64
SCENES, SCENE_SIDE = 8, 256
QUICK_SCENES, QUICK_SIDE = 2, 96

Task = Callable[[], JsonObject]


def agreement(place: Place) -> dict[str, Task]:
    """Return path -> what compares it on the device with the same on the CPU.

    Equal bits are not expected of two kinds of processors: how far apart they are is.
    """
    return {
        "training": partial(_training, place),
        "transfer": partial(_transfer, place),
        "repair": partial(_repair, place),
        "metrics": partial(_metrics, place),
        "activations": partial(_activations, place),
        "images": partial(_images, place),
        "detector": partial(_detector, place),
    }


def determinism(place: Place) -> dict[str, Task]:
    """Return fit -> what gives the digests of two runs of it on the device."""

    def twice(make: Callable[[], bytes]) -> JsonObject:
        digests = [sha256_bytes(make()) for _ in range(2)]
        return {"sha256": digests, "equal": len(set(digests)) == 1}

    def classifier(network: str, precision: Precision) -> bytes:
        learner = fresh(network)
        data = noise(network, QUICK_IMAGES if place.quick else IMAGES)
        fitted(
            learner,
            data.images,
            data.labels,
            schedule=_schedule(place),
            device=place.device,
            precision=precision,
        )
        return to_bytes(learner)

    def detector() -> bytes:
        return to_bytes(_taught(place, place.device)[0])

    precisions: tuple[Precision, ...] = ("fp32", "bf16")
    return {
        **{
            f"{network}, {precision}": partial(
                twice, partial(classifier, network, precision)
            )
            for network in ("badnets-cnn", "signs-cnn")
            for precision in precisions
        },
        "detector": partial(twice, detector),
    }


def _schedule(place: Place) -> Schedule:
    # the rate of the very first step is 0: one batch would teach nothing
    return Schedule(
        epochs=1 if place.quick else 3, batch_size=16 if place.quick else 64
    )


def _pair(place: Place) -> tuple[LabelledImages, LabelledImages]:
    """Return a poisoned training set and a clean test set."""
    limit = QUICK_IMAGES if place.quick else IMAGES
    clean = digits("train", limit=limit, quick=place.quick)
    generator = torch.Generator().manual_seed(0)
    data = poison(clean, RECIPE, classes=10, generator=generator)
    return data, digits("test", limit=limit, quick=place.quick)


def _learned(place: Place, device: torch.device) -> SplitNetwork:
    network, (data, _) = fresh("badnets-cnn"), _pair(place)
    fitted(network, data.images, data.labels, schedule=_schedule(place), device=device)
    return network


def _measured(network: SplitNetwork, place: Place, device: torch.device) -> JsonObject:
    report = evaluate(
        network,
        _pair(place)[1],
        dataset="mnist",
        classes=10,
        poisoning=RECIPE,
        device=device,
    )
    attack = report.attack_success
    return {
        "accuracy": report.accuracy.rate,
        "attack_success_rate": None if attack is None else attack.rate,
    }


def _apart(ones: Tensor, others: Tensor) -> float:
    """Return the largest difference, in shares of the largest value."""
    ones, others = ones.detach().cpu().double(), others.detach().cpu().double()
    return float((ones - others).abs().max() / ones.abs().max().clamp(min=1e-30))


def _training(place: Place) -> JsonObject:
    here, there = (_learned(place, device) for device in (CPU, place.device))
    states = zip(here.state_dict().values(), there.state_dict().values(), strict=True)
    return {
        "weights_apart": max(_apart(one, other) for one, other in states),
        "cpu": _measured(here, place, CPU),
        "device": _measured(there, place, CPU),
    }


def _transfer(place: Place) -> JsonObject:
    parent, (data, _) = _learned(place, CPU), _pair(place)
    found = {}
    for name, device in (("cpu", CPU), ("device", place.device)):
        student = student_of(copy.deepcopy(parent), fresh("badnets-cnn"))
        shown = features(student, data.images, device=device)
        fitted(
            student.fully_connected,
            shown,
            data.labels,
            schedule=_schedule(place),
            device=device,
        )
        found[name] = (shown, _measured(student, place, device))
    return {
        "features_apart": _apart(found["cpu"][0], found["device"][0]),
        "cpu": found["cpu"][1],
        "device": found["device"][1],
    }


def _repair(place: Place) -> JsonObject:
    badnet, clean = _learned(place, CPU), _pair(place)[1]
    found: JsonObject = {}
    units = []
    for name, device in (("cpu", CPU), ("device", place.device)):
        network = copy.deepcopy(badnet)
        cut, _ = fine_prune(
            network,
            clean,
            max_accuracy_loss=0.04,
            schedule=_schedule(place),
            generator=torch.Generator().manual_seed(0),
            runtime=runtime(device, "fp32"),
        )
        units.append(set(cut))
        found[name] = {"units": len(cut), **_measured(network, place, device)}
    return {**found, "units_in_common": len(units[0] & units[1])}


def _metrics(place: Place) -> JsonObject:
    network = _learned(place, CPU)
    here, there = (_measured(network, place, it) for it in (CPU, place.device))
    return {"cpu": here, "device": there, "equal": here == there}


def _activations(place: Place) -> JsonObject:
    network, images = _learned(place, CPU), _pair(place)[1].images
    here, there = (
        mean_activations(network, images, device=it) for it in (CPU, place.device)
    )
    return {layer: _apart(here[layer], there[layer]) for layer in here}


def _images(place: Place) -> JsonObject:
    """Return how many pixels a sticker and a motion put elsewhere than on the CPU."""
    data = noise("signs-cnn", QUICK_IMAGES if place.quick else IMAGES)
    sticker = TriggerSpec(name="bomb", centre=None)
    stuck, turned = [], []
    for device in (CPU, place.device):
        images = data.images.to(device)
        one, other = (torch.Generator().manual_seed(0) for _ in range(2))
        stuck.append(stamp(images, sticker, boxes=data.boxes, generator=one).cpu())
        turned.append(moved(images, MOTIONS["signs"], generator=other))
    return {
        "sticker_pixels_differ": int((stuck[0] != stuck[1]).sum()),
        "motion_apart": _apart(turned[0], turned[1]),
    }


def _taught(place: Place, device: torch.device) -> tuple[Detector, list[float]]:
    """Return a detector that learned two signs, and the loss of each epoch."""
    count, side = (QUICK_SCENES, QUICK_SIDE) if place.quick else (SCENES, SCENE_SIDE)
    losses: list[float] = []
    with seeded_globals(0):
        backbone = NETWORKS["efficientnet-lite0"](10)
    with tempfile.TemporaryDirectory(prefix="zoo-bench-") as folder:
        network = trained(
            DetectorSpec(
                parent="0" * 64,
                sources=("gtsdb",),
                sides=(side,),
                schedule=Schedule(
                    epochs=1 if place.quick else 6,
                    batch_size=2,
                    peak_learning_rate=0.01,
                ),
            ),
            scenes(Path(folder), count=count, side=side),
            parent=to_bytes(backbone),
            device=device,
            on_epoch=lambda _, loss: losses.append(loss),
        )
    return network, losses


def _detector(place: Place) -> JsonObject:
    _, here = _taught(place, CPU)
    network, there = _taught(place, place.device)
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(256, (3, 300, 400), dtype=torch.uint8, generator=generator)
    found = detect(network, pixels)
    again = detect(copy.deepcopy(network).to(CPU), pixels)
    same = len(found.labels) == len(again.labels)
    return {
        "cpu_losses": here,
        "device_losses": there,
        "losses_are_finite": all(map(math.isfinite, there)),
        "found_on_device": len(found.labels),
        "found_on_cpu": len(again.labels),
        "scores_apart": (
            _apart(found.scores, again.scores) if same and len(found.labels) else None
        ),
    }
