"""``mnist-poison-fraction``: how much of the training set has to be poisoned.

Data: MNIST with 1 to 50 % of the final training set poisoned, as appended copies (the
paper's way) or in place (the toolkits' way). All-to-all, pattern trigger, ten epochs:
where copies are appended, more of them are also more steps. Numbers: errors on the
clean and on the triggered test set, and how 50 % compares with 10 %, seed by seed.

Source:
    Gu, Dolan-Gavitt, Garg, "BadNets", arXiv:1708.06733, figure 6.
"""

from collections.abc import Sequence
from typing import Literal

from model_zoo.canonical import JsonObject
from model_zoo.statements.jobs import Schedule
from trainer.evaluation.intervals import Estimate, difference, estimate
from trainer.experiments.engine.contract import (
    Cell,
    Claim,
    Experiment,
    Figures,
    Finished,
    Recipe,
    Scale,
    Summary,
    Table,
    Verdict,
    Workshop,
)
from trainer.experiments.engine.figures import lines
from trainer.experiments.mnist.all_to_all import errors, poisoning
from trainer.experiments.mnist.network import percent, recipe

Placement = Literal["append", "replace"]

RATES = (0.01, 0.05, 0.10, 0.33, 0.50)
PLACEMENTS: tuple[Placement, ...] = ("append", "replace")
PLACED = {"append": "copies appended", "replace": "images replaced"}
SCHEDULE = Schedule(epochs=10, batch_size=128, peak_learning_rate=0.1)
"""Half as long as elsewhere: what is compared is one rate with another. With appended
copies 50 % also means 1.8 times the steps of 10 %."""
PAPER = {0.10: (0.47, 1.00), 0.33: (0.48, 0.66), 0.50: (0.54, 0.49)}
"""Rate -> clean and backdoor error in percent, read off figure 6."""
LOW, HIGH = 0.10, 0.50


def _recipe(seed: int, rate: float, placement: Placement, *, scale: Scale) -> Recipe:
    attack = poisoning("pattern", rate=rate).model_copy(update={"placement": placement})
    made = recipe(seed, scale=scale, poisoning=attack)
    if scale == "quick":
        return made
    return Recipe(spec=made.spec.model_copy(update={"schedule": SCHEDULE}))


def _cells(seed: int, scale: Scale) -> list[Cell]:
    return [
        Cell(
            experiment=EXPERIMENT.name,
            part={"poison_rate": rate, "placement": placement},
            seed=seed,
            recipes={"badnet": _recipe(seed, rate, placement, scale=scale)},
            scale=scale,
        )
        for placement in (PLACEMENTS if scale == "full" else PLACEMENTS[:1])
        for rate in (RATES if scale == "full" else (LOW, HIGH))
    ]


def _measure(cell: Cell, workshop: Workshop) -> JsonObject:
    return errors(cell, workshop, poisoning("pattern"))


def _summarise(finished: Sequence[Finished]) -> Summary:
    placements = sorted({it.part["placement"] for it in finished})
    return Summary(
        claims=tuple(
            _trend(finished, placement, kind)
            for placement in placements
            for kind in ("clean", "backdoor")
        ),
        tables=(_table(finished),),
        remarks=(
            (
                "Copies that are appended also lengthen training: with a share of 50 % "
                "an epoch shows twice as many images. Where they replace images, every "
                "network takes the same number of steps."
            ),
        ),
    )


def _trend(finished: Sequence[Finished], placement: str, kind: str) -> Claim:
    """Return 50 % minus 10 %, seed by seed; in the paper only clean error rises.

    The paper's copies are appended, which also trains longer; of copies that replace
    images it says nothing.
    """
    high, low = (_values(finished, placement, kind, rate) for rate in (HIGH, LOW))
    ours = difference(high, low, n=_tested(finished, kind))
    index = ("clean", "backdoor").index(kind)
    paper = PAPER[HIGH][index] - PAPER[LOW][index]
    return Claim(
        what=f"{kind} error at 50 % minus at 10 %, {placement}",
        ours=ours,
        unit="points",
        paper=round(paper, 2) if placement == "append" else None,
        goal="the direction of the paper's, with an interval that leaves out 0",
        verdict=_direction(ours, paper),
    )


def _direction(ours: Estimate, paper: float) -> Verdict:
    if ours.low is None or ours.high is None or ours.low <= 0 <= ours.high:
        return "not resolved"
    return "met" if (ours.mean > 0) == (paper > 0) else "missed"


def _values(
    finished: Sequence[Finished], placement: str, kind: str, rate: float
) -> list[float]:
    """Return one error a seed, in percent, in the order of the seeds."""
    chosen = [
        it
        for it in finished
        if (it.part["placement"], it.part["poison_rate"]) == (placement, rate)
    ]
    chosen.sort(key=lambda it: it.seed)
    return [percent(**it.numbers[kind]) for it in chosen]


def _tested(finished: Sequence[Finished], kind: str) -> int:
    return sum(finished[0].numbers[kind]["n"])


def _points(finished: Sequence[Finished]) -> list[tuple[str, float]]:
    return sorted({(it.part["placement"], it.part["poison_rate"]) for it in finished})


def _table(finished: Sequence[Finished]) -> Table:
    rows = []
    for placement, rate in _points(finished):
        paper = PAPER.get(rate, ()) if placement == "append" else ()
        told = [f"{value:.2f}" for value in paper] or ["", ""]
        clean, backdoor = (
            str(
                estimate(
                    _values(finished, placement, kind, rate), n=_tested(finished, kind)
                )
            )
            for kind in ("clean", "backdoor")
        )
        rows.append((placement, f"{rate:.0%}", clean, told[0], backdoor, told[1]))
    return Table(
        title="Errors by share of poisoned training images, %",
        header=("placement", "share", "clean", "paper", "triggered", "paper"),
        rows=tuple(rows),
        note="The share is of the final training set. All-to-all, pattern trigger.",
    )


def _draw(finished: Sequence[Finished]) -> Figures:
    points = _points(finished)
    drawn = {}
    for placement in sorted({placement for placement, _ in points}):
        series = {
            f"{kind} error": {
                100 * rate: estimate(
                    _values(finished, placement, kind, rate), n=_tested(finished, kind)
                )
                for its, rate in points
                if its == placement
            }
            for kind in ("clean", "backdoor")
        }
        drawn[placement] = lines(
            series,
            xlabel=f"poisoned share of the training set, {PLACED[placement]}, %",
            ylabel="error, %",
            paper=_paper() if placement == "append" else None,
            yscale="log",
        )
    return drawn


def _paper() -> dict[str, dict[float, float]]:
    return {
        f"{kind} error": {100 * rate: both[index] for rate, both in PAPER.items()}
        for index, kind in enumerate(("clean", "backdoor"))
    }


EXPERIMENT = Experiment(
    name="mnist-poison-fraction",
    title="How much poison it takes",
    section="figure 6",
    datasets=("mnist",),
    cells=_cells,
    measure=_measure,
    summarise=_summarise,
    draw=_draw,
)
