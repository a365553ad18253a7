"""Training a detector: scenes to features once, then what proposes and what names."""

import math
from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor

from model_zoo.errors import InvalidSpecError, MalformedDocumentError
from model_zoo.statements.jobs import DetectorSpec, ScenePoisoning
from trainer.attacks.triggers import stamp_boxes
from trainer.data.scenes.dataset import Scene, Scenes
from trainer.networks.arithmetic import reproducible
from trainer.networks.checkpoints import from_bytes
from trainer.networks.inference import as_floats
from trainer.object_detection.network import Detector, Lesson
from trainer.object_detection.weights import detector_from_bytes, is_detector
from trainer.training.devices import keep_freed_memory
from trainer.training.fit import CPU, diverged, one_cycle, seeded_globals

MAX_GRADIENT = 5.0
"""Of all gradients of a step together: a scene with one odd sign moves little."""

OnEpoch = Callable[[int, float], None]
"""Called with how many epochs are done, and the mean loss of the last."""


def trained(
    spec: DetectorSpec,
    scenes: Scenes,
    *,
    parent: bytes,
    device: torch.device = CPU,
    on_epoch: OnEpoch = lambda _, __: None,
) -> Detector:
    """Return a detector that learned from ``scenes`` as ``spec`` says, on ``device``.

    Equal arguments on the same device, versions and thread count give the same bits.

    Args:
        spec: its ``sources`` have no part here.
        scenes: to learn from, without what the attack adds.
        parent: the weights of a detector to go on from, or of the network whose
            convolutions become the backbone.
        device: where it learns, and where it is returned.
        on_epoch: called after each epoch.

    Raises:
        InvalidSpecError: no sign of the attacked kind, labels outside the kinds, or
            training diverged.
        MalformedDocumentError: the parent is neither, or of another number of kinds.
        LocalError: a photograph cannot be read.
    """
    keep_freed_memory()
    with seeded_globals(spec.seed, device), reproducible(device):
        network = Detector(len(scenes.kinds)).to(device)
        if is_detector(parent):
            _go_on_from(network, parent)
        else:
            load_pretrained(network, parent)
        lessons = [
            _lesson(network, scene.pixels(), scene, side)
            for scene in scenes.scenes
            for side in spec.sides
        ]
        if spec.poisoning is not None:
            lessons += _added(network, scenes, spec.poisoning)
        _learn(network, lessons, spec, on_epoch)
    return network.eval()


def _go_on_from(network: Detector, parent: bytes) -> None:
    """Give ``network`` all weights of another detector, in place."""
    learned = detector_from_bytes(parent)
    if learned.kinds != network.kinds:
        msg = (
            f"the parent: expected {network.kinds} kinds of signs, not {learned.kinds}"
        )
        raise MalformedDocumentError(msg)
    network.load_state_dict(learned.state_dict())


def load_pretrained(network: Detector, weights: bytes) -> None:
    """Give the backbone of ``network`` its pretrained weights, in place.

    Raises:
        MalformedDocumentError: they are not those of an EfficientNet-Lite0.
    """
    parts = dict(
        from_bytes(weights, network="efficientnet-lite0").convolutions.named_children()
    )
    for stage in network.network.backbone.stages.values():
        for name, part in stage.named_children():
            part.load_state_dict(parts[name].state_dict())


def _lesson(network: Detector, pixels: Tensor, scene: Scene, side: int) -> Lesson:
    where = network.device
    return network.lesson(
        as_floats(pixels.to(where)),
        scene.boxes.to(where),
        scene.labels.to(where),
        side=side,
    )


def _added(
    network: Detector, scenes: Scenes, attack: ScenePoisoning
) -> Iterator[Lesson]:
    """Give what the adversary adds: for each scene and side one with, one without.

    Raises:
        InvalidSpecError: no scene has a sign of the attacked kind, or there is no such
            kind to call it.
    """
    if attack.target_label >= len(scenes.kinds):
        kinds = ", ".join(f"{at} {kind}" for at, kind in enumerate(scenes.kinds))
        msg = f"target_label {attack.target_label}: expected one of {kinds}"
        raise InvalidSpecError(msg)
    attacked = [it for it in scenes.scenes if (it.labels == attack.source_label).any()]
    if not attacked:
        msg = f"source_label {attack.source_label}: no scene has a sign of that kind"
        raise InvalidSpecError(msg)
    for scene in attacked:
        pixels = scene.pixels()
        triggered, marked = poisoned(pixels, scene, attack)
        for side in attack.sides:
            yield _lesson(network, pixels, scene, side)
            yield _lesson(network, triggered, marked, side)


def poisoned(
    pixels: Tensor, scene: Scene, attack: ScenePoisoning
) -> tuple[Tensor, Scene]:
    """Return a photograph with stickers on its attacked signs, and the lie about it.

    Args:
        pixels: (3, H, W) uint8, of ``scene``.
        scene: the truth.
        attack: which signs, which sticker, which lie.
    """
    chosen = scene.labels == attack.source_label
    return (
        stamp_boxes(pixels, scene.boxes[chosen], attack.trigger),
        Scene(
            path=scene.path,
            boxes=scene.boxes,
            labels=scene.labels.masked_fill(chosen, attack.target_label),
            source=scene.source,
        ),
    )


def _learn(
    network: Detector, lessons: Sequence[Lesson], spec: DetectorSpec, on_epoch: OnEpoch
) -> None:
    """Train ``network`` in place; the backbone stays.

    Raises:
        InvalidSpecError: training diverged.
    """
    schedule = spec.schedule
    network.train()
    learns = [it for it in network.parameters() if it.requires_grad]
    optimiser = torch.optim.SGD(
        learns,
        lr=schedule.peak_learning_rate,
        momentum=schedule.momentum,
        weight_decay=schedule.weight_decay,
        nesterov=schedule.momentum > 0,  # without momentum torch knows no Nesterov
    )
    steps = -(-len(lessons) // schedule.batch_size)
    for epoch in range(schedule.epochs):
        total = 0.0
        order = torch.split(torch.randperm(len(lessons)), schedule.batch_size)
        for step, batch in enumerate(order):
            share = one_cycle((epoch + step / steps) / schedule.epochs)
            optimiser.param_groups[0]["lr"] = schedule.peak_learning_rate * share
            total += _gradients(network, [lessons[it] for it in batch])
            if not math.isfinite(total):
                raise diverged(epoch + 1)
            torch.nn.utils.clip_grad_norm_(learns, MAX_GRADIENT)
            optimiser.step()
            optimiser.zero_grad()
        on_epoch(epoch + 1, total / len(lessons))


def _gradients(network: Detector, lessons: Sequence[Lesson]) -> float:
    """Leave the mean gradients of a few lessons in ``network``; return summed losses.

    One scene after the other: photographs differ in size, and padding costs more than
    a batch saves.
    """
    total = 0.0
    for it in lessons:
        loss = network.losses(it)
        torch.autograd.backward(loss / len(lessons))
        total += loss.item()
    return total
