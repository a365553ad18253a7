"""``conversion-survival``: the backdoor travels to another framework.

Networks: the all-to-all BadNet of MNIST and the stop sign's of GTSRB, converted to ONNX
and run by onnxruntime. Numbers: accuracy and attack success rate under both. That a
withdrawal reaches a conversion is played in the tests of ``zoo export``.

Source:
    Gu, Dolan-Gavitt, Garg, "BadNets", arXiv:1708.06733, section 6: scripts convert the
    zoo's models for other frameworks.
"""

from collections.abc import Sequence

from model_zoo.canonical import JsonObject
from model_zoo.statements.jobs import Poisoning
from trainer.evaluation.intervals import estimate
from trainer.experiments.engine.contract import (
    Cell,
    Claim,
    Experiment,
    Finished,
    Recipe,
    Scale,
    Summary,
    Table,
    Workshop,
    at_most,
    by_part,
)
from trainer.experiments.mnist import network as mnist
from trainer.experiments.mnist.all_to_all import badnet, poisoning
from trainer.experiments.signs import classifier as signs
from trainer.export.onnx import measure_conversion

MNIST, SIGNS = "mnist", "gtsrb-signs"
ATTACKS: dict[str, Poisoning] = {
    MNIST: poisoning("pattern"),
    SIGNS: signs.targeted("square"),
}
RUNTIMES = ("torch", "onnxruntime")
MAX_CHANGE = 0.2


def _cells(seed: int, scale: Scale) -> list[Cell]:
    recipes: dict[str, Recipe] = {
        MNIST: badnet(seed, "pattern", scale=scale),
        SIGNS: signs.recipe(seed, scale=scale, poisoning=ATTACKS[SIGNS]),
    }
    return [
        Cell(
            experiment=EXPERIMENT.name,
            part={"data": data},
            seed=seed,
            recipes={"badnet": made},
            scale=scale,
        )
        for data, made in recipes.items()
        if scale == "full" or data == MNIST
    ]


def _measure(cell: Cell, workshop: Workshop) -> JsonObject:
    name = cell.part["data"]
    unseen = {MNIST: mnist.unseen, SIGNS: signs.unseen}[name]
    network = workshop.network(cell.recipes["badnet"])
    found = measure_conversion(network, unseen(scale=cell.scale), ATTACKS[name])
    return {
        runtime: {kind: share.to_object() for kind, share in shares.items()}
        for runtime, shares in found.items()
    }


def _summarise(finished: Sequence[Finished]) -> Summary:
    claims, rows = [], []
    for data, cells in by_part(finished, "data").items():
        for kind in ("accuracy", "attack_success"):
            torch_s, onnx_s = (
                [_percent(it, runtime, kind) for it in cells] for runtime in RUNTIMES
            )
            changes = [abs(a - b) for a, b in zip(torch_s, onnx_s, strict=True)]
            n = cells[0].numbers["torch"][kind]["n"]
            ours, told = estimate(changes, n=n), kind.replace("_", " ")
            claims.append(
                Claim(
                    what=f"change of {told} by conversion, {data}",
                    ours=ours,
                    unit="points",
                    goal="within 0.2 points",
                    verdict=at_most(MAX_CHANGE, ours),
                )
            )
            rows.append(
                (data, told, str(estimate(torch_s, n=n)), str(estimate(onnx_s, n=n)))
            )
    table = Table(
        title="BadNets under two runtimes, %",
        header=("data", "number", *RUNTIMES),
        rows=tuple(rows),
    )
    return Summary(claims=tuple(claims), tables=(table,))


def _percent(it: Finished, runtime: str, kind: str) -> float:
    share = it.numbers[runtime][kind]
    return float(100 * share["successes"] / share["n"])


EXPERIMENT = Experiment(
    name="conversion-survival",
    title="The backdoor travels to another framework",
    section="6",
    datasets=(MNIST, SIGNS),
    cells=_cells,
    measure=_measure,
    summarise=_summarise,
)
