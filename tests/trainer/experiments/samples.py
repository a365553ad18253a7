"""An experiment that is run in no time: its numbers are made up from its cells."""

from collections.abc import Iterator, Sequence
from functools import partial

from model_zoo.canonical import JsonObject
from trainer.evaluation.intervals import estimate
from trainer.experiments.engine.cells import Cell, Finished, Scale
from trainer.experiments.engine.experiment import (
    Claim,
    Experiment,
    Figures,
    Part,
    Summary,
    Table,
    Verdict,
)
from trainer.experiments.engine.figures import lines
from trainer.experiments.engine.models import ModelCache

NAME = "made-up"
TEST_IMAGES = 1_000
ENVIRONMENT = {"cpu_model": "a processor", "torch": "2.15.0", "precision": "fp32"}


def parts(_seed: int, _scale: Scale) -> Iterator[Part]:
    for share in (0.1, 0.5):
        yield {"share": share}, {}


def cells(seed: int, scale: Scale) -> list[Cell]:
    return made_up().cells(seed, scale)


def all_cells(seeds: int = 3) -> list[Cell]:
    return [cell for seed in range(seeds) for cell in cells(seed, "full")]


def finished(cell: Cell) -> Finished:
    """Return what a worker process would make of ``cell``."""
    return Finished(
        cell=cell.digest(),
        part=dict(cell.part),
        seed=cell.seed,
        numbers={"wrong": [1 + cell.seed], "n": [TEST_IMAGES]},
        seconds=61.2,
        peak_mib=300.0,
        environment=ENVIRONMENT,
        data={},
        made_by="",
    )


def all_finished(seeds: int = 3) -> list[Finished]:
    return [finished(cell) for cell in all_cells(seeds)]


def made_up(*, verdict: Verdict = "met", remark: str = "A remark.") -> Experiment:
    """Return the experiment; its one claim has the given verdict."""
    return Experiment(
        name=NAME,
        title="Made up",
        section="4.2, figure 9",
        datasets=(),
        parts=parts,
        measure=measure,
        summarise=partial(summarise, verdict=verdict, remark=remark),
        draw=_draw,
    )


def summarise(of: Sequence[Finished], *, verdict: Verdict, remark: str) -> Summary:
    ours = estimate([100 * it.numbers["wrong"][0] / TEST_IMAGES for it in of])
    return Summary(
        claims=(
            Claim(
                what="error | on a slice",
                ours=ours,
                paper=0.5,
                goal="at most 0.50 %",
                verdict=verdict,
            ),
        ),
        tables=(
            Table(
                title="A table",
                header=("class", "ours", "paper"),
                rows=(("0 -> 1", str(ours), "0.10"),),
                note="A note with ``code``.",
            ),
        ),
        remarks=(remark,),
    )


def measure(cell: Cell, _models: ModelCache) -> JsonObject:
    return finished(cell).numbers


def _draw(of: Sequence[Finished]) -> Figures:
    points = {it.part["share"]: estimate([it.numbers["wrong"][0]]) for it in of}
    return {"shares": lines({"clean": points}, xlabel="share, %", ylabel="error, %")}
