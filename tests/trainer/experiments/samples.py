"""An experiment that is run in no time: its numbers are made up from its cells."""

from collections.abc import Sequence

from model_zoo.canonical import JsonObject
from trainer.evaluation.intervals import estimate
from trainer.experiments.engine.contract import (
    Cell,
    Claim,
    Experiment,
    Figures,
    Finished,
    Scale,
    Summary,
    Table,
    Verdict,
    Workshop,
)
from trainer.experiments.engine.figures import lines

NAME = "made-up"
TEST_IMAGES = 1_000
ENVIRONMENT = {"cpu_model": "a processor", "torch": "2.15.0", "precision": "fp32"}


def cells(seed: int, scale: Scale) -> list[Cell]:
    return [
        Cell(experiment=NAME, part={"share": share}, seed=seed, scale=scale)
        for share in (0.1, 0.5)
    ]


def finished(cell: Cell) -> Finished:
    """Return what a station would make of ``cell``."""
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
    return [finished(cell) for seed in range(seeds) for cell in cells(seed, "full")]


def made_up(*, verdict: Verdict = "met", remark: str = "A remark.") -> Experiment:
    """Return the experiment; its one claim has the given verdict."""

    def summarise(of: Sequence[Finished]) -> Summary:
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

    return Experiment(
        name=NAME,
        title="Made up",
        section="4.2, figure 9",
        datasets=(),
        cells=cells,
        measure=_measure,
        summarise=summarise,
        draw=_draw,
    )


def _measure(cell: Cell, workshop: Workshop) -> JsonObject:
    assert workshop is not None
    return finished(cell).numbers


def _draw(of: Sequence[Finished]) -> Figures:
    points = {it.part["share"]: estimate([it.numbers["wrong"][0]]) for it in of}
    return {"shares": lines({"clean": points}, xlabel="share, %", ylabel="error, %")}
