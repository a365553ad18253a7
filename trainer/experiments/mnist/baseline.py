"""``mnist-baseline``: the paper's digit network, and how often it errs.

Data: all of MNIST. Network: table 1. Number: errors on the 10,000 test images; the
paper's network errs on 0.50 %.

Source:
    Gu, Dolan-Gavitt, Garg, "BadNets", arXiv:1708.06733, section 4.1.1.
"""

from collections.abc import Sequence

import torch

from model_zoo.canonical import JsonObject
from trainer.evaluation.intervals import estimate
from trainer.experiments.engine.contract import (
    Cell,
    Claim,
    Experiment,
    Finished,
    Scale,
    Summary,
    Table,
    Workshop,
)
from trainer.experiments.mnist.network import (
    CLASSES,
    errors_by_class,
    percent,
    recipe,
    unseen,
)
from trainer.networks.inference import predict

PAPER = 0.50
PAPER_BY_CLASS = (0.10, 0.18, 0.29, 0.50, 0.20, 0.45, 0.84, 0.58, 0.72, 1.19)
"""Errors in percent, from table 2's baseline column."""


def _cells(seed: int, scale: Scale) -> list[Cell]:
    return [
        Cell(
            experiment=EXPERIMENT.name,
            part={"data": "mnist"},
            seed=seed,
            recipes={"baseline": recipe(seed, scale=scale)},
            scale=scale,
        )
    ]


def _measure(cell: Cell, workshop: Workshop) -> JsonObject:
    data = unseen(scale=cell.scale)
    network = workshop.network(cell.recipes["baseline"])
    answers = predict(network, data.images, device=torch.device("cpu"))
    return {"clean": errors_by_class(answers != data.labels, data.labels)}


def _summarise(finished: Sequence[Finished]) -> Summary:
    counts = [it.numbers["clean"] for it in finished]
    ours = estimate([percent(**it) for it in counts], n=sum(counts[0]["n"]))
    is_met = (ours.mean if ours.low is None else ours.low) <= PAPER
    rows = []
    for digit in range(CLASSES):
        errors = estimate(
            [100 * it["wrong"][digit] / it["n"][digit] for it in counts],
            n=counts[0]["n"][digit],
        )
        rows.append((str(digit), str(errors), f"{PAPER_BY_CLASS[digit]:.2f}"))
    return Summary(
        claims=(
            Claim(
                what="error on the test set",
                ours=ours,
                paper=PAPER,
                goal="the interval reaches 0.50 % or lower",
                verdict="met" if is_met else "missed",
            ),
        ),
        tables=(
            Table(
                title="Errors by class, %",
                header=("class", "ours", "paper"),
                rows=tuple(rows),
            ),
        ),
    )


EXPERIMENT = Experiment(
    name="mnist-baseline",
    title="The digit network without a backdoor",
    section="4.1.1",
    datasets=("mnist",),
    cells=_cells,
    measure=_measure,
    summarise=_summarise,
)
