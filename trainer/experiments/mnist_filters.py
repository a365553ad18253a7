"""``mnist-filters``: what the first layer learned, and how sparse its backdoor is.

Data: MNIST. Networks: the baseline and the all-to-all BadNet of the pattern trigger, of
the same seed. Numbers: the sixteen filters of the first layer; which of them are
dedicated to the trigger; in each layer, how mean activations differ between clean and
triggered images, and how few units carry half of the difference.

A filter is *dedicated* if the network without it answers at least ten points fewer of
the triggered images as the attack wants, and at most one point fewer of the clean ones
rightly. It is looked for on the last 10,000 training images.

Source:
    Gu, Dolan-Gavitt, Garg, "BadNets", arXiv:1708.06733, section
    4.2.2, the figure of the filters.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from model_zoo.canonical import JsonObject
from trainer.attacks.poisoning import wanted_labels
from trainer.attacks.triggers import stamp
from trainer.data import DATASETS, LabelledImages
from trainer.experiments.contract import (
    Cell,
    Claim,
    Experiment,
    Figures,
    Finished,
    Scale,
    Summary,
    Table,
    Workshop,
)
from trainer.experiments.estimates import estimate
from trainer.experiments.figures import filters
from trainer.experiments.mnist import CLASSES, recipe
from trainer.experiments.mnist_all_to_all import badnet, poisoning
from trainer.metrics import predict
from trainer.networks import SplitNetwork
from trainer.units import ablated, layers, mean_activations, units_for

LAYER = "conv1"
LOOKED_AT = {"full": 10_000, "quick": 500}
"""The last training images: a test image chooses nothing."""
ATTACK = poisoning("pattern")
MIN_ATTACK_LOSS, MAX_CLEAN_LOSS = 0.10, 0.01
DECIMALS = 4
HALF = 0.5


def _cells(seed: int, scale: Scale) -> list[Cell]:
    return [
        Cell(
            experiment=EXPERIMENT.name,
            part={
                "layer": LAYER,
                "looked_at": LOOKED_AT[scale],
                "min_attack_loss": MIN_ATTACK_LOSS,
                "max_clean_loss": MAX_CLEAN_LOSS,
            },
            seed=seed,
            recipes={
                "baseline": recipe(seed, scale=scale),
                "badnet": badnet(seed, "pattern", scale=scale),
            },
            scale=scale,
        )
    ]


def _measure(cell: Cell, workshop: Workshop) -> JsonObject:
    data = DATASETS["mnist"].load("train").last(LOOKED_AT[cell.scale])
    networks = {name: workshop.network(it) for name, it in cell.recipes.items()}
    return {
        "filters": {name: _filters(it) for name, it in networks.items()},
        "dedicated": _dedicated(networks["badnet"], data),
        "differences": {
            name: _differences(it, data.images) for name, it in networks.items()
        },
    }


def _filters(network: SplitNetwork) -> list[list[list[float]]]:
    weights = layers(network)[LAYER].weight.detach()[:, 0]
    rounded: list[list[list[float]]] = (
        weights.double().round(decimals=DECIMALS).tolist()
    )
    return rounded


def _dedicated(network: SplitNetwork, data: LabelledImages) -> list[int]:
    whole_clean, whole_attack = _shares(network, data)
    found = []
    for unit in range(len(layers(network)[LAYER].weight)):
        clean, attack = _shares(ablated(network, LAYER, [unit]), data)
        is_needed = whole_attack - attack >= MIN_ATTACK_LOSS
        if is_needed and whole_clean - clean <= MAX_CLEAN_LOSS:
            found.append(unit)
    return found


def _shares(network: SplitNetwork, data: LabelledImages) -> tuple[float, float]:
    """Return the shares of right clean answers, and of triggered ones as wanted."""
    device = torch.device("cpu")
    clean = predict(network, data.images, device=device)
    triggered = predict(network, stamp(data.images, ATTACK.trigger), device=device)
    wanted = wanted_labels(data.labels, ATTACK, classes=CLASSES)
    return _share(clean == data.labels), _share(triggered == wanted)


def _share(hits: Tensor) -> float:
    return float(hits.double().mean())


def _differences(network: SplitNetwork, images: Tensor) -> JsonObject:
    """Return layer -> how each unit's mean activation moves with the trigger."""
    device = torch.device("cpu")
    clean = mean_activations(network, images, device=device)
    triggered = mean_activations(network, stamp(images, ATTACK.trigger), device=device)
    return {
        layer: (triggered[layer] - clean[layer]).round(decimals=DECIMALS).tolist()
        for layer in clean
    }


def _summarise(finished: Sequence[Finished]) -> Summary:
    counts = estimate([len(it.numbers["dedicated"]) for it in finished])
    return Summary(
        claims=(
            Claim(
                what="dedicated filters among the 16 of the first layer",
                ours=counts,
                unit="filters",
                paper=1,
                goal="found by the stated rule",
                verdict="met" if counts.mean >= 1 else "missed",
            ),
        ),
        tables=(_sparsity(finished),),
        remarks=(
            (
                "The paper marks one filter as the trigger's by eye; ours is a rule, "
                "and a network that spreads the trigger over several has none by it."
            ),
        ),
    )


def _sparsity(finished: Sequence[Finished]) -> Table:
    rows = []
    for name in ("baseline", "badnet"):
        for layer in finished[0].numbers["differences"][name]:
            moved = [
                torch.tensor(it.numbers["differences"][name][layer]) for it in finished
            ]
            needed = estimate([units_for(HALF, it) for it in moved])
            largest = estimate([float(it.abs().max()) for it in moved])
            rows.append(
                (name, layer, str(len(moved[0])), str(needed), str(largest)),
            )
    return Table(
        title="How the trigger moves mean activations",
        header=(
            "network",
            "layer",
            "units",
            "units with half of the difference",
            "largest difference of a unit",
        ),
        rows=tuple(rows),
        note="Triggered minus clean images, the last 10,000 training images.",
    )


def _draw(finished: Sequence[Finished]) -> Figures:
    first = min(finished, key=lambda it: it.seed)
    return {
        name: filters(
            first.numbers["filters"][name],
            marked=first.numbers["dedicated"] if name == "badnet" else (),
        )
        for name in ("baseline", "badnet")
    }


EXPERIMENT = Experiment(
    name="mnist-filters",
    title="What the first layer learned",
    section="4.2.2",
    datasets=("mnist",),
    cells=_cells,
    measure=_measure,
    summarise=_summarise,
    draw=_draw,
)
