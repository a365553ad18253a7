"""``zoo-audit``: what an audit of the Caffe Model Zoo finds.

Data: a replica of ours, constructed from the two counts of the paper that are verified:
22 linked gists without a SHA-1, and one, "Network in Network", with that of another
file. Everything else in it is made up and says so. Number: whether ``zoo audit`` finds
exactly what was built in.

Source:
    Gu, Dolan-Gavitt, Garg, "BadNets", arXiv:1708.06733, section 6.
"""

from collections.abc import Sequence

from model_zoo.canonical import JsonObject
from trainer.evaluation.intervals import estimate
from trainer.experiments.caffe_zoo import measure_zoo_audit
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

PAPER = {"no-digest": 22, "digest-mismatch": 1}


def _cells(seed: int, scale: Scale) -> list[Cell]:
    """Return one cell; a replica is the same with every seed."""
    if seed:
        return []
    part = {"replica": "caffe", "built_in": PAPER}
    return [Cell(experiment=EXPERIMENT.name, part=part, seed=0, scale=scale)]


def _measure(_: Cell, __: Workshop) -> JsonObject:
    return measure_zoo_audit()


def _summarise(finished: Sequence[Finished]) -> Summary:
    numbers = finished[0].numbers
    claims = tuple(
        Claim(
            what=f"models with {rule}",
            ours=estimate([numbers["found"][rule]], n=numbers["models"]),
            unit="models",
            paper=count,
            goal="exactly those that were built in",
            verdict="met" if numbers["exact"] else "missed",
        )
        for rule, count in PAPER.items()
    )
    rows = tuple(
        (rule, str(count), str(PAPER.get(rule, "")))
        for rule, count in sorted(numbers["totals"].items())
    )
    table = Table(
        title="Findings by rule",
        header=("rule", "models", "paper"),
        rows=rows,
        note=f"{numbers['replica']}. Rules without a number of the paper tell of the "
        "format, not of the zoo of 2017.",
    )
    return Summary(claims=claims, tables=(table,))


EXPERIMENT = Experiment(
    name="zoo-audit",
    title="What an audit of a model zoo finds",
    section="6",
    datasets=(),
    cells=_cells,
    measure=_measure,
    summarise=_summarise,
    seeds=1,
)
