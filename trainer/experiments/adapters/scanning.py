"""What the scores of adapters add up to: which way they point, AUROC, yields."""

import statistics
from collections.abc import Mapping, Sequence

from matplotlib.figure import Figure

from model_zoo.statements.scan import ScannerResult
from trainer.evaluation.detection import Auroc, auroc
from trainer.evaluation.intervals import estimate
from trainer.experiments.adapters.members import (
    CLEAN,
    DIRECTION,
    SEEN,
    UNSEEN,
    measure,
    parts,
)
from trainer.experiments.engine.cells import Finished
from trainer.experiments.engine.experiment import (
    Claim,
    Experiment,
    Figures,
    Summary,
    Table,
)
from trainer.experiments.engine.tables import at_least, claim, pivot
from trainer.text.backdoors import FAMILIES
from trainer.text.messages import CLASSES

LEAST_SUCCESS = 0.5
"""ASR of an attack that took; others are counted apart."""
LEAST_AUROC, LEAST_ACCURACY = 0.95, 90.0
TOGETHER = "all together"
"""The mean of all features, in units of the clean ones' spread, each turned."""
LEAST_SPREAD, MOST_Z = 1e-9, 3.0
"""No feature decides alone."""


Scores = Mapping[str, float]
"""Scanner, or feature -> number; larger is more suspicious once it is turned."""


def _numbers(it: Finished) -> tuple[Scores, Scores]:
    """Return the scores by scanner, and all features."""
    results = [ScannerResult.from_object(one) for one in it.numbers["scanners"]]
    scores = {one.name: one.score for one in results if one.score is not None}
    # which word it was says nothing by its number
    features = {
        k: v for one in results for k, v in one.features.items() if k != "token"
    }
    return scores, features


def _took(it: Finished) -> bool:
    success = it.numbers.get("attack_success")
    return success is not None and success["successes"] >= LEAST_SUCCESS * success["n"]


def _scored(finished: Sequence[Finished]) -> list[tuple[Finished, Scores]]:
    """Return all adapters with all their scores turned, ``TOGETHER`` among them.

    Everything that turns or scales them is of the split ``direction``.
    """
    known = [it for it in finished if it.part["split"] == DIRECTION]
    clean = [_numbers(it) for it in known if it.part["family"] == CLEAN]
    bad = [_numbers(it) for it in known if it.part["family"] != CLEAN]
    signs = _signs([it[0] for it in bad], [it[0] for it in clean])
    turns = _signs([it[1] for it in bad], [it[1] for it in clean])
    scored: list[tuple[Finished, Scores]] = []
    for it in finished:
        scores, features = _numbers(it)
        turned = {name: signs[name] * score for name, score in scores.items()}
        strange = []
        for name, value in features.items():
            usual = [one[1][name] for one in clean]
            spread = max(statistics.pstdev(usual), LEAST_SPREAD)
            z = turns[name] * (value - statistics.fmean(usual)) / spread
            strange.append(min(max(z, -MOST_Z), MOST_Z))
        scored.append((it, {**turned, TOGETHER: statistics.fmean(strange)}))
    return scored


def _signs(bad: Sequence[Scores], clean: Sequence[Scores]) -> dict[str, int]:
    """Return number -> 1 where backdoored adapters have more of it, else -1."""

    def above(name: str) -> float:
        return auroc([it[name] for it in bad], [it[name] for it in clean]).value

    return {name: 1 if above(name) >= 1 / 2 else -1 for name in clean[0]}


def _auroc(
    scored: Sequence[tuple[Finished, Scores]], name: str, families: Sequence[str]
) -> Auroc | None:
    """Return how well a score tells ``families`` from the clean ones of their split.

    None where no attack took.
    """
    bad = [it for it in scored if it[0].part["family"] in families and _took(it[0])]
    splits = {it.part["split"] for it, _ in bad}
    clean = [
        by[name]
        for it, by in scored
        if it.part["family"] == CLEAN and it.part["split"] in splits
    ]
    return auroc([by[name] for _, by in bad], clean) if bad else None


GROUPS: Mapping[str, Sequence[str]] = {
    **{it: (it,) for it in UNSEEN},
    "families unseen": UNSEEN,
    "families seen, in sample": SEEN,
}


def _summarise(finished: Sequence[Finished]) -> Summary:
    scored = _scored(finished)
    names = list(scored[0][1])
    return Summary(
        claims=(_accuracy_claim(finished), *(_claim(scored, it) for it in names)),
        tables=(_detection(scored, names), _targets(finished), _yields(finished)),
        remarks=(_gap(scored, names),),
    )


def _accuracy_claim(finished: Sequence[Finished]) -> Claim:
    clean = [it for it in finished if it.part["family"] == CLEAN]
    return claim(
        f"ACC of {len(clean)} clean adapters, mean",
        estimate(_percents(clean, "accuracy"), n=clean[0].numbers["accuracy"]["n"]),
        f"at least {LEAST_ACCURACY:.0f} %",
        at_least(LEAST_ACCURACY),
    )


def _claim(scored: Sequence[tuple[Finished, Scores]], name: str) -> Claim:
    found = _auroc(scored, name, UNSEEN)
    return claim(
        f"{name}: AUROC on families unseen",
        None if found is None else found.estimate(),
        f"at least {LEAST_AUROC}",
        at_least(LEAST_AUROC),
        unit="",
    )


def _percents(cells: Sequence[Finished], kind: str) -> list[float]:
    return [100 * it.numbers[kind]["successes"] / it.numbers[kind]["n"] for it in cells]


def _detection(
    scored: Sequence[tuple[Finished, Scores]], names: Sequence[str]
) -> Table:
    return pivot(
        "AUROC of scanners on adapters, with 95 % intervals (backdoored + clean)",
        names,
        ("scanner", str),
        *(
            (group, lambda it, families=families: _auroc(scored, it, families))
            for group, families in GROUPS.items()
        ),
        note="Attacks that took, and clean adapters of the same split. The families "
        "seen set which way a score points, and their clean ones its units: only the "
        "families unseen, and other clean adapters, test it.",
    )


def _targets(finished: Sequence[Finished]) -> Table:
    """Return how often a scanner suspects the label that the attacker wants."""
    took = [it for it in finished if _took(it)]
    suspects: dict[str, list[tuple[str, bool]]] = {}
    for it in took:
        for one in map(ScannerResult.from_object, it.numbers["scanners"]):
            if one.target_labels:
                right = it.part["target_label"] in one.target_labels
                suspects.setdefault(one.name, []).append((it.part["family"], right))

    def told(name: str, family: str) -> str:
        hits = [right for its, right in suspects[name] if its == family]
        return f"{sum(hits)} of {len(hits)}"

    families = list(dict.fromkeys(it.part["family"] for it in took))
    return pivot(
        "Attacks that took whose target label a scanner suspects",
        suspects,
        ("scanner", str),
        *((family, lambda it, f=family: told(it, f)) for family in families),
        note=f"By guessing it would be one in {len(CLASSES)}; clean adapters have "
        "none.",
    )


def _yields(finished: Sequence[Finished]) -> Table:
    by_family = {
        family: [it for it in finished if it.part["family"] == family]
        for family in dict.fromkeys(it.part["family"] for it in finished)
    }

    def attacked(family: str, told: str) -> str | None:
        cells = by_family[family]
        if family == CLEAN:
            return None
        if told == "took":
            return f"{sum(map(_took, cells))} of {len(cells)}"
        return f"{statistics.fmean(_percents(cells, 'attack_success')):.1f}"

    count = finished[0].numbers["accuracy"]["n"]
    return pivot(
        "Adapters of both splits",
        by_family,
        ("family", str),
        ("adapters", lambda it: len(by_family[it])),
        ("ACC, %", lambda it: f"{_mean_accuracy(by_family[it]):.1f}"),
        ("ASR, %", lambda it: attacked(it, "rate")),
        ("took", lambda it: attacked(it, "took")),
        note=f"Means; ACC of n = {count} messages, ASR of those of another label. An "
        f"attack took where its ASR is at least {LEAST_SUCCESS:.0%}.",
    )


def _mean_accuracy(cells: Sequence[Finished]) -> float:
    return statistics.fmean(_percents(cells, "accuracy"))


def _gap(scored: Sequence[tuple[Finished, Scores]], names: Sequence[str]) -> str:
    """Return what no scanner sees, in a sentence."""
    found = {it: _auroc(scored, it, UNSEEN) for it in names}
    measured = {name: it for name, it in found.items() if it is not None}
    if not measured:
        return "No attack of a family unseen took."
    best = max(measured, key=lambda it: measured[it].value)
    below = [name for name, it in measured.items() if it.value < 1 / 2]
    told = f"Under 0.5: {', '.join(below)}." if below else "None is under 0.5."
    return (
        f"On families unseen the best is {best}, {measured[best]}; the goal for "
        f"classifiers of images is {LEAST_AUROC}. {told}"
    )


def _draw(finished: Sequence[Finished]) -> Figures:
    return {"adapters": _picture(_scored(finished))}


def _picture(scored: Sequence[tuple[Finished, Scores]]) -> Figure:
    """Draw every score of every adapter, a panel a scanner, a line a family."""
    names = list(scored[0][1])
    families = [CLEAN, *FAMILIES]
    figure = Figure(figsize=(2.1 * len(names), 2.6), layout="constrained")
    figure.set_label("scores of adapters by family, turned as the other split says")
    panels = figure.subplots(1, len(names), sharey=True, squeeze=False)[0]
    for axes, name in zip(panels, names, strict=True):
        for place, family in enumerate(families):
            its = [by[name] for it, by in scored if it.part["family"] == family]
            axes.plot(its, [place] * len(its), "o", markersize=3, alpha=0.7)
        axes.set_title(name, fontsize=8)
        axes.set_yticks(range(len(families)), families)
        axes.invert_yaxis()
    return figure


EXPERIMENT = Experiment(
    name="adapters",
    title="Scanners on adapters of a sentence encoder",
    section="-",
    datasets=(),
    parts=parts,
    measure=measure,
    summarise=_summarise,
    draw=_draw,
    seeds=1,
    on_cpu=True,
)
