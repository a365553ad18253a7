"""``mnist-filters``: what the first layer learned, and how sparse its backdoor is.

Data: MNIST. Networks: the baseline and the all-to-all BadNet of the pattern trigger, of
the same seed. Numbers: the sixteen filters of the first layer; which of them are
dedicated to the trigger; in each layer, how mean activations differ between clean and
triggered images, and how few units carry half of the difference.

A filter is *dedicated* if the trigger on an empty image moves it more than almost any
digit does: at most one in a thousand of the last 10,000 training images, without the
trigger, has a place to which it answers as strongly.

The rule that was tried first, a filter without which ten points of the attack are lost
and at most one point of clean accuracy, finds none: what the dedicated filter sees,
others see too, each a little. So the attack is also measured without it.

Source:
    Gu, Dolan-Gavitt, Garg, "BadNets", arXiv:1708.06733, section
    4.2.2, the figure of the filters.
"""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from model_zoo.canonical import JsonObject
from trainer.attacks.poisoning import wanted_labels
from trainer.attacks.triggers import stamp
from trainer.data import DATASETS, LabelledImages
from trainer.evaluation.intervals import estimate
from trainer.evaluation.metrics import accuracy, attack_success_rate, triggered
from trainer.experiments.engine.cells import Cell, Finished, Scale
from trainer.experiments.engine.experiment import (
    Experiment,
    Figures,
    Part,
    Summary,
    Table,
)
from trainer.experiments.engine.figures import filters
from trainer.experiments.engine.models import ModelCache
from trainer.experiments.engine.tables import at_least, claim, pivot
from trainer.experiments.mnist.all_to_all import badnet, poisoning
from trainer.experiments.mnist.network import CLASSES, recipe
from trainer.networks import SplitNetwork
from trainer.networks.activations import ablated, layers, mean_activations, units_for
from trainer.networks.inference import as_floats, batches, predict

LAYER = "conv1"
LOOKED_AT = {"full": 10_000, "quick": 500}
"""The last training images: a test image chooses nothing."""
ATTACK = poisoning("pattern")
MAX_SHARE = 0.001
NETWORKS = ("baseline", "badnet")
DECIMALS = 4
HALF = 0.5


def _parts(seed: int, scale: Scale) -> Iterator[Part]:
    yield (
        {"layer": LAYER, "looked_at": LOOKED_AT[scale], "max_share": MAX_SHARE},
        {
            "baseline": recipe(seed, scale=scale),
            "badnet": badnet(seed, "pattern", scale=scale),
        },
    )


def _measure(cell: Cell, models: ModelCache) -> JsonObject:
    data = DATASETS["mnist"].load("train").last(LOOKED_AT[cell.scale])
    device = models.device
    networks = {name: models.network(it) for name, it in cell.recipes.items()}
    dedicated = {
        name: dedicated_filters(it, data.images, device=device)
        for name, it in networks.items()
    }
    badnet = networks["badnet"]
    without = ablated(badnet, LAYER, dedicated["badnet"])
    return {
        "filters": {name: _filters(it) for name, it in networks.items()},
        "dedicated": dedicated,
        "whole": _counts(badnet, data, device=device),
        "without": _counts(without, data, device=device),
        "differences": {
            name: _differences(it, data, device=device) for name, it in networks.items()
        },
    }


def _filters(network: SplitNetwork) -> list[list[list[float]]]:
    weights = layers(network)[LAYER].weight.detach()[:, 0]
    rounded: list[list[list[float]]] = (
        weights.double().round(decimals=DECIMALS).tolist()
    )
    return rounded


def dedicated_filters(
    network: SplitNetwork, images: Tensor, *, device: torch.device
) -> list[int]:
    """Return the filters that hardly any of ``images`` moves as the trigger does.

    Args:
        network: on ``device``.
        images: (N, 1, 28, 28) uint8, without the trigger.
        device: where it runs.
    """
    first = layers(network)[LAYER]
    black = stamp(torch.zeros_like(images[:1]), ATTACK.trigger)
    with torch.inference_mode():
        to_trigger = first(as_floats(black.to(device))).amax(dim=(2, 3))
        to_images = torch.cat(
            [first(as_floats(it.to(device))).amax(dim=(2, 3)) for it in batches(images)]
        )
    shares = (to_images >= to_trigger).double().mean(dim=0)
    return [unit for unit, share in enumerate(shares.tolist()) if share <= MAX_SHARE]


def _counts(
    network: SplitNetwork, data: LabelledImages, *, device: torch.device
) -> JsonObject:
    """Return how many clean answers are right, and triggered ones as wanted."""
    clean = predict(network, data.images, device=device)
    changed = predict(network, triggered(data, ATTACK), device=device)
    wanted = wanted_labels(data.labels, ATTACK, classes=CLASSES)
    right = accuracy(clean, data.labels)
    return {
        "clean": right.successes,
        "as wanted": attack_success_rate(changed, data.labels, wanted=wanted).successes,
        "n": right.n,
    }


def _differences(
    network: SplitNetwork, data: LabelledImages, *, device: torch.device
) -> JsonObject:
    """Return layer -> how each unit's mean activation moves with the trigger."""
    clean = mean_activations(network, data.images, device=device)
    changed = mean_activations(network, triggered(data, ATTACK), device=device)
    return {
        layer: (changed[layer] - clean[layer]).round(decimals=DECIMALS).tolist()
        for layer in clean
    }


def _summarise(finished: Sequence[Finished]) -> Summary:
    return Summary(
        claims=(
            claim(
                "filters of the BadNet dedicated to the trigger, of 16",
                estimate([len(it.numbers["dedicated"]["badnet"]) for it in finished]),
                "at least one, by the stated rule",
                at_least(1),
                paper=1,
                unit="filters",
            ),
        ),
        tables=(_found(finished), _sparsity(finished)),
        remarks=(
            (
                "The paper marks its filter by eye. That a filter is made for the "
                "trigger does not mean that the backdoor needs it."
            ),
        ),
    )


def _found(finished: Sequence[Finished]) -> Table:
    def listed(it: Finished, name: str) -> str:
        return ", ".join(map(str, it.numbers["dedicated"][name])) or "none"

    def percent(it: Finished, which: str, kind: str) -> str:
        counts = it.numbers[which]
        return f"{100 * counts[kind] / counts['n']:.2f}"

    return pivot(
        "Filters dedicated to the trigger, and the BadNet without its own",
        sorted(finished, key=lambda one: one.seed),
        ("seed", lambda it: it.seed),
        ("in the baseline", lambda it: listed(it, "baseline")),
        ("in the BadNet", lambda it: listed(it, "badnet")),
        ("clean accuracy, %", lambda it: percent(it, "whole", "clean")),
        ("without", lambda it: percent(it, "without", "clean")),
        ("triggered as wanted, %", lambda it: percent(it, "whole", "as wanted")),
        ("without", lambda it: percent(it, "without", "as wanted")),
        note="Filters are numbered from 0; on the last 10,000 training images.",
    )


def _sparsity(finished: Sequence[Finished]) -> Table:
    moved = {
        (name, layer): [
            torch.tensor(it.numbers["differences"][name][layer]) for it in finished
        ]
        for name in NETWORKS
        for layer in finished[0].numbers["differences"][name]
    }
    return pivot(
        "How the trigger moves mean activations",
        moved,
        ("network", lambda key: key[0]),
        ("layer", lambda key: key[1]),
        ("units", lambda key: len(moved[key][0])),
        (
            "units with half of the difference",
            lambda key: estimate([units_for(HALF, it) for it in moved[key]]),
        ),
        (
            "largest difference of a unit",
            lambda key: estimate([float(it.abs().max()) for it in moved[key]]),
        ),
        note="Triggered minus clean images, the last 10,000 training images.",
    )


def _draw(finished: Sequence[Finished]) -> Figures:
    first = min(finished, key=lambda it: it.seed)
    return {
        name: filters(
            first.numbers["filters"][name],
            marked=first.numbers["dedicated"][name],
            whose=f"{name}, seed {first.seed}",
        )
        for name in NETWORKS
    }


EXPERIMENT = Experiment(
    name="mnist-filters",
    title="What the first layer learned",
    section="4.2.2",
    datasets=("mnist",),
    parts=_parts,
    measure=_measure,
    summarise=_summarise,
    draw=_draw,
)
