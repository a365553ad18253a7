"""Units one by one: how often clean images wake them, what else does, what they move.

A unit is a channel of a convolution or a neuron of a fully connected layer, after the
gate behind it, a ReLU or a GELU. Two lists are looked at closely: units that clean
images never wake, or seldom; and units that some input drives far beyond what any clean
image does.

Source:
    Gu, Dolan-Gavitt, Garg, "BadNets", arXiv:1708.06733, section 7.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from model_zoo.errors import InvalidSpecError
from model_zoo.statements.evaluation import Proportion
from trainer.data.images import LabelledImages
from trainer.defenses.inspection.peaks import STARTS, STEPS, Peak, find_peaks, replaced
from trainer.evaluation.metrics import accuracy
from trainer.networks import SplitNetwork
from trainer.networks.activations import before_gates
from trainer.networks.arithmetic import reproducible
from trainer.networks.inference import as_floats, batches

MOST_MAXIMISED = 2048
"""Units, so that a network of more costs no more; the least activated go first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Activity:
    """How the units of a layer answer clean images, on the CPU.

    Attributes:
        activated: (units,) int64, on how many images a unit answers above 0, somewhere.
        mean: (units,) float64, over images and, in a convolution, over places.
        largest: (units,) float32, on any image, at any place.
    """

    activated: Tensor
    mean: Tensor
    largest: Tensor


@dataclass(frozen=True, slots=True, kw_only=True)
class Effect:
    """What happens to the answers to clean images when one unit answers otherwise.

    Attributes:
        logits: the mean change of each.
        changed: the images that get another label.
        label: the one that most of them get; None where no label changes.
        to_label: how many get that one.
    """

    logits: tuple[float, ...]
    changed: Proportion
    label: int | None
    to_label: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Unit:
    """One unit, looked at.

    Attributes:
        peak: what maximises it.
        activated: the clean images on which it answers above 0, somewhere.
        mean: over clean images and places.
        largest: on any clean image.
        beyond: of the largest change of a logit that the unit makes on its maximising
            input, what exceeds any clean image: times 1 - ``largest`` / its level.
        ablated: it always answers 0.
        forced: it always answers what it does to its maximising input, place by
            place; None if no input was found that wakes it.
    """

    peak: Peak
    activated: Proportion
    mean: float
    largest: float
    beyond: float
    ablated: Effect
    forced: Effect | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Inspection:
    """What was found, and what it cost.

    Attributes:
        accuracy: on the clean images.
        is_constant: all clean images get the very same logits.
        activity: layer -> of all its units.
        maximised: for how many units an input was sought.
        least_activated: the first of all units in this order: never activated, and
            some input wakes it, by what it moves then; never activated, and nothing
            found wakes it; then by how seldom it is activated.
        furthest: of the others, those with most ``beyond``, if they have any.
        forward_passes: of one image each.
        gradient_passes: of one image each, forward and backward.
    """

    accuracy: Proportion
    is_constant: bool
    activity: Mapping[str, Activity]
    maximised: int
    least_activated: tuple[Unit, ...]
    furthest: tuple[Unit, ...]
    forward_passes: int
    gradient_passes: int


def inspect_units(
    network: SplitNetwork,
    clean: LabelledImages,
    *,
    layer: str | None,
    units: int,
    generator: Generator,
    device: torch.device,
) -> Inspection:
    """Return how the units of ``network`` behave, and a closer look at some.

    Args:
        network: moved to ``device``, evaluated.
        clean: images that a defender has; no trigger is asked for.
        layer: looked at alone; None for every layer that has a gate.
        units: how many of each of the two lists are looked at closely.
        generator: draws what the ascent starts from; on the CPU.
        device: where it runs.

    Raises:
        InvalidSpecError: fewer images than classes, a label that the network does not
            have, images of another shape, no layer with a gate, or not ``layer``.
    """
    _require_enough(network, clean)
    network.to(device).to(memory_format=torch.channels_last).eval()
    with torch.inference_mode(), reproducible(device):
        activity, logits = _activity(network, clean.images, device=device)
    activity = _of_layers(activity, layer)
    chosen = _least_activated(activity)[:MOST_MAXIMISED]
    with reproducible(device):
        peaks = find_peaks(network, chosen, generator=generator, device=device)
        least, furthest = (
            tuple(
                _looked_at(network, clean.images, logits, peak, activity[peak.layer])
                for peak in some
            )
            for some in _lists(peaks, activity, units)
        )
    shown = [*least, *furthest]
    changes = sum(
        (it.activated.successes > 0) + (it.forced is not None) for it in shown
    )
    return Inspection(
        accuracy=accuracy(logits.argmax(1).cpu(), clean.labels),
        is_constant=torch.equal(logits, logits[:1].expand_as(logits)),
        activity=activity,
        maximised=len(chosen),
        least_activated=least,
        furthest=furthest,
        forward_passes=len(clean) * (1 + changes) + len(chosen) * (STARTS + 1),
        gradient_passes=len(chosen) * (STARTS * STEPS + 1),
    )


def _require_enough(network: SplitNetwork, clean: LabelledImages) -> None:
    if len(clean) < network.classes:
        msg = (
            f"{len(clean)} clean images for {network.classes} classes: expected at "
            "least as many"
        )
        raise InvalidSpecError(msg)
    low, high = int(clean.labels.min()), int(clean.labels.max())
    if low < 0 or high >= network.classes:
        msg = f"labels {low} to {high}: the network has 0 to {network.classes - 1}"
        raise InvalidSpecError(msg)


def _activity(
    network: SplitNetwork, images: Tensor, *, device: torch.device
) -> tuple[dict[str, Activity], Tensor]:
    """Return layer -> activity on all ``images``, and the logits ((N, classes))."""
    seen: dict[str, list[Activity]] = {}
    logits = []
    for batch in batches(images):
        found: dict[str, Activity] = {}

        def note(layer: str, given: Tensor, found: dict[str, Activity] = found) -> None:
            answers = given.reshape(*given.shape[:2], -1).relu()
            largest = answers.amax(2)
            found[layer] = Activity(
                activated=(largest > 0).sum(0).cpu(),
                mean=answers.mean(2).sum(0).double().cpu(),
                largest=largest.amax(0).cpu(),
            )

        with before_gates(network, note):
            logits.append(network(as_floats(batch.to(device))))
        for layer, it in found.items():
            seen.setdefault(layer, []).append(it)
    joined = {layer: _joined(parts, len(images)) for layer, parts in seen.items()}
    return joined, torch.cat(logits)


def _joined(parts: Sequence[Activity], n: int) -> Activity:
    """Return the activity on all ``n`` images of batches whose means are sums yet."""
    return Activity(
        activated=torch.stack([it.activated for it in parts]).sum(0),
        mean=torch.stack([it.mean for it in parts]).sum(0) / n,
        largest=torch.stack([it.largest for it in parts]).amax(0),
    )


def _of_layers(activity: dict[str, Activity], layer: str | None) -> dict[str, Activity]:
    if not activity:
        msg = (
            "no unit is seen in this network: expected a ReLU or GELU behind a layer, "
            "and it has to be a module (nn.ReLU), not a function that forward calls"
        )
        raise InvalidSpecError(msg)
    if layer is None:
        return activity
    if layer not in activity:
        known = ", ".join(activity)
        msg = f"--layer {layer[:80]!a}: layers with a ReLU or GELU are {known}"
        raise InvalidSpecError(msg)
    return {layer: activity[layer]}


def _least_activated(activity: Mapping[str, Activity]) -> list[tuple[str, int]]:
    """Return all units, the least activated first; in a tie no layer is preferred."""
    order = [
        (activated, mean, number, layer)
        for layer, it in activity.items()
        for number, (activated, mean) in enumerate(
            zip(it.activated.tolist(), it.mean.tolist(), strict=True)
        )
    ]
    return [(layer, number) for _, _, number, layer in sorted(order)]


def _lists(
    peaks: Sequence[Peak], activity: Mapping[str, Activity], n: int
) -> tuple[list[Peak], list[Peak]]:
    """Return up to ``n`` of the least activated, and of the others that go furthest."""

    def sleep(peak: Peak) -> tuple[float, ...]:
        its, number = activity[peak.layer], peak.number
        if its.activated[number]:
            return 2, int(its.activated[number]), float(its.mean[number])
        return 0 if peak.level else 1, -peak.moved, number

    def beyond(peak: Peak) -> float:
        return _beyond(peak, activity[peak.layer])

    order = sorted(peaks, key=sleep)
    others = sorted(filter(beyond, order[n:]), key=beyond, reverse=True)
    return order[:n], others[:n]


def _beyond(peak: Peak, activity: Activity) -> float:
    if not peak.level:
        return 0.0
    return peak.moved * max(0.0, 1 - float(activity.largest[peak.number]) / peak.level)


@torch.inference_mode()
def _looked_at(
    network: SplitNetwork,
    images: Tensor,
    before: Tensor,
    peak: Peak,
    activity: Activity,
) -> Unit:
    def effect(answers: Tensor | float) -> Effect:
        after = [
            replaced(
                network,
                as_floats(batch.to(before.device)),
                layer=peak.layer,
                at=(slice(None), peak.number),
                answers=answers,
            )
            for batch in batches(images)
        ]
        return _effect(before, torch.cat(after))

    activated = Proportion(
        successes=int(activity.activated[peak.number]), n=len(images)
    )
    return Unit(
        peak=peak,
        activated=activated,
        mean=float(activity.mean[peak.number]),
        largest=float(activity.largest[peak.number]),
        beyond=_beyond(peak, activity),
        # what never answers above 0 is not missed
        ablated=effect(0.0) if activated.successes else _effect(before, before),
        forced=effect(peak.answers) if peak.level else None,
    )


def _effect(before: Tensor, after: Tensor) -> Effect:
    old, new = before.argmax(1), after.argmax(1)
    labels = new[new != old]
    counts = labels.cpu().bincount(minlength=before.shape[1])
    return Effect(
        logits=tuple((after - before).double().mean(0).tolist()),
        changed=Proportion(successes=len(labels), n=len(before)),
        label=int(counts.argmax()) if len(labels) else None,
        to_label=int(counts.max()),
    )
