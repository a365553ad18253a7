"""``mnist-poison-fraction``: how much of the training set has to be poisoned.

Data: MNIST with 1 to 50 % of the final training set poisoned, as appended copies (the
paper's way) or in place (the toolkits' way). All-to-all, pattern trigger, ten epochs:
where copies are appended, more of them are also more steps. Numbers: errors on the
clean and on the triggered test set, and how 50 % compares with 10 %, seed by seed.

Source:
    Gu, Dolan-Gavitt, Garg, "BadNets", arXiv:1708.06733, figure 6.
"""

from collections.abc import Iterator, Sequence
from typing import Literal

from model_zoo.canonical import JsonObject
from model_zoo.statements.jobs import Schedule
from trainer.evaluation.intervals import Estimate
from trainer.experiments.engine.cells import Cell, Finished, Recipe, Scale
from trainer.experiments.engine.experiment import (
    Claim,
    Experiment,
    Figures,
    Part,
    Summary,
    Verdict,
)
from trainer.experiments.engine.figures import lines
from trainer.experiments.engine.models import ModelCache
from trainer.experiments.engine.tables import (
    Rule,
    by_part,
    change,
    claim,
    pivot,
    share,
)
from trainer.experiments.mnist.all_to_all import errors, poisoning
from trainer.experiments.mnist.network import recipe

Placement = Literal["append", "replace"]

RATES = (0.01, 0.05, 0.10, 0.33, 0.50)
PLACEMENTS: tuple[Placement, ...] = ("append", "replace")
PLACED = {"append": "copies appended", "replace": "images replaced"}
KINDS = ("clean", "backdoor")
SCHEDULE = Schedule(epochs=10, batch_size=128, peak_learning_rate=0.1)
"""Half as long as elsewhere: what is compared is one rate with another. With appended
copies 50 % also means 1.8 times the steps of 10 %."""
PAPER = {0.10: (0.47, 1.00), 0.33: (0.48, 0.66), 0.50: (0.54, 0.49)}
"""Rate -> clean and backdoor error in percent, read off figure 6."""
LOW, HIGH = 0.10, 0.50


def _recipe(seed: int, rate: float, placement: Placement, *, scale: Scale) -> Recipe:
    attack = poisoning("pattern", rate=rate).model_copy(update={"placement": placement})
    return recipe(seed, scale=scale, poisoning=attack, schedule=SCHEDULE)


def _parts(seed: int, scale: Scale) -> Iterator[Part]:
    for placement in PLACEMENTS if scale == "full" else PLACEMENTS[:1]:
        for rate in RATES if scale == "full" else (LOW, HIGH):
            yield (
                {"poison_rate": rate, "placement": placement},
                {"badnet": _recipe(seed, rate, placement, scale=scale)},
            )


def _measure(cell: Cell, models: ModelCache) -> JsonObject:
    return errors(cell, models, poisoning("pattern"))


def _by_rate(finished: Sequence[Finished]) -> dict[str, dict[float, list[Finished]]]:
    """Return placement -> rate -> cells by seed."""
    return {
        placement: {
            float(rate): its for rate, its in by_part(cells, "poison_rate").items()
        }
        for placement, cells in by_part(finished, "placement").items()
    }


def _summarise(finished: Sequence[Finished]) -> Summary:
    by_rate = _by_rate(finished)
    points = [(it, rate) for it, rates in by_rate.items() for rate in rates]

    def paper(point: tuple[str, float], kind: str) -> str | None:
        placement, rate = point
        known = placement == "append" and rate in PAPER
        return f"{PAPER[rate][KINDS.index(kind)]:.2f}" if known else None

    return Summary(
        claims=tuple(
            _trend(rates, placement, kind)
            for placement, rates in by_rate.items()
            for kind in KINDS
        ),
        tables=(
            pivot(
                "Errors by share of poisoned training images, %",
                points,
                ("placement", lambda it: it[0]),
                ("share", lambda it: f"{it[1]:.0%}"),
                ("clean", lambda it: share(by_rate[it[0]][it[1]], "clean")),
                ("paper", lambda it: paper(it, "clean")),
                ("triggered", lambda it: share(by_rate[it[0]][it[1]], "backdoor")),
                ("paper", lambda it: paper(it, "backdoor")),
                note=(
                    "The share is of the final training set. All-to-all, pattern "
                    "trigger."
                ),
            ),
        ),
        remarks=(
            (
                "Copies that are appended also lengthen training: with a share of 50 % "
                "an epoch shows twice as many images. Where they replace images, every "
                "network takes the same number of steps."
            ),
        ),
    )


def _trend(rates: dict[float, list[Finished]], placement: str, kind: str) -> Claim:
    """Return 50 % minus 10 %, seed by seed; in the paper only clean error rises.

    The paper's copies are appended, which also trains longer; of copies that replace
    images it says nothing.
    """
    index = KINDS.index(kind)
    paper = PAPER[HIGH][index] - PAPER[LOW][index]
    return claim(
        f"{kind} error at 50 % minus at 10 %, {placement}",
        change(rates[HIGH], rates[LOW], kind),
        "the direction of the paper's, with an interval that leaves out 0",
        _direction(paper),
        paper=round(paper, 2) if placement == "append" else None,
        unit="points",
    )


def _direction(paper: float) -> Rule:
    def verdict(ours: Estimate) -> Verdict:
        if ours.low is None or ours.high is None or ours.low <= 0 <= ours.high:
            return "not resolved"
        return "met" if (ours.mean > 0) == (paper > 0) else "missed"

    return verdict


def _draw(finished: Sequence[Finished]) -> Figures:
    paper = {
        f"{kind} error": {100 * rate: both[index] for rate, both in PAPER.items()}
        for index, kind in enumerate(KINDS)
    }
    return {
        placement: lines(
            {
                f"{kind} error": {
                    100 * rate: share(cells, kind) for rate, cells in rates.items()
                }
                for kind in KINDS
            },
            xlabel=f"poisoned share of the training set, {PLACED[placement]}, %",
            ylabel="error, %",
            paper=paper if placement == "append" else None,
            yscale="log",
        )
        for placement, rates in _by_rate(finished).items()
    }


EXPERIMENT = Experiment(
    name="mnist-poison-fraction",
    title="How much poison it takes",
    section="figure 6",
    datasets=("mnist",),
    parts=_parts,
    measure=_measure,
    summarise=_summarise,
    draw=_draw,
)
