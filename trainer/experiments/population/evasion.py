"""Evasion: how well adversaries who know a scanner get past it, and past the others."""

from collections.abc import Iterable, Mapping

import numpy as np
from matplotlib.figure import Figure

from trainer.evaluation.detection import Auroc, auroc
from trainer.experiments.engine.experiment import Claim, Summary, Table
from trainer.experiments.engine.figures import heat_map
from trainer.experiments.population.adversaries import KNOWS
from trainer.experiments.population.report import area_claim, in_test, judges_of
from trainer.experiments.population.rows import Compared, Row

ENSEMBLE_COLUMN = "ensemble"
LEAST = 0.9


def summarise(them: Compared) -> Summary:
    """Return what scanners calibrated on honest populations say of adversaries.

    Args:
        them: members of ``digits``, its clean ones being the negatives, and of
            ``adversaries``.

    Raises:
        ValueError: there are too few members to calibrate on, or none to judge.
    """
    clean = [it for it in in_test(them) if it.is_clean]
    claims: list[Claim] = []
    rows = []
    areas = _areas(them)
    for knows, found in areas.items():
        its = _adversaries(them, knows)
        taken = [it for it in its if it.is_backdoored]
        what = f"AUROC of the ensemble, adversaries who know: {knows}"
        claims.append(area_claim(what, found[ENSEMBLE_COLUMN], LEAST))
        price = (_mean(it.accuracy for it in its), _mean(it.success for it in its))
        told = [f"{it.value:.3f}" for it in found.values()]
        rows.append((knows, f"{len(taken)} of {len(its)}", *price, *told))
    table = Table(
        title="AUROC by what the adversary knows",
        header=("knows", "took", "ACC", "ASR", *next(iter(areas.values()))),
        rows=tuple(rows),
        note=f"Beside {len(clean)} clean networks, odd ones among them. ACC and ASR "
        "are means over all of the adversary's networks: what hiding costs.",
    )
    return Summary(claims=tuple(claims), tables=(table,))


def _mean(values: Iterable[float | None]) -> str:
    return f"{100 * np.mean([it for it in values if it is not None]):.1f} %"


def _adversaries(them: Compared, knows: str) -> list[Row]:
    return [it for it in in_test(them) if it.family == knows]


def _areas(them: Compared) -> Mapping[str, Mapping[str, Auroc]]:
    """Return what the adversary knows -> judge or scanner -> AUROC.

    Raises:
        ValueError: no adversary's attack took.
    """
    judge, test = judges_of(them)[0], in_test(them)
    clean = [it for it in test if it.is_clean]
    found: dict[str, dict[str, Auroc]] = {}
    for knows in KNOWS:
        hits = [it for it in _adversaries(them, knows) if it.is_backdoored]
        if not hits:
            continue
        found[knows] = {
            ENSEMBLE_COLUMN: auroc(
                [judge.score(it) for it in hits], [judge.score(it) for it in clean]
            )
        } | {
            name: auroc(
                [_alone(it, name) for it in hits], [_alone(it, name) for it in clean]
            )
            for name in sorted(hits[0].scanners)
        }
    if not found:
        msg = "no adversary's network is built and scanned whose attack took"
        raise ValueError(msg)
    return found


def _alone(row: Row, scanner: str) -> float:
    result = row.scanners.get(scanner)
    return 0.0 if result is None or result.score is None else result.score


def draw(them: Compared) -> dict[str, Figure]:
    """Return the same AUROCs as a map."""
    areas = _areas(them)
    columns = list(next(iter(areas.values())))
    figure = heat_map(
        {
            (row, column): its[name].value
            for row, its in enumerate(areas.values())
            for column, name in enumerate(columns)
        },
        title="AUROC by what the adversary knows",
        rows="",
        columns="",
    )
    axes = figure.axes[0]
    axes.set_xticks(range(len(columns)), columns, rotation=35, ha="right")
    axes.set_yticks(range(len(areas)), list(areas))
    return {"auroc": figure}
