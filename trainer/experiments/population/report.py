"""The population's report: how well scanners tell networks they never saw."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from matplotlib.figure import Figure

from model_zoo.statements.evaluation import Proportion
from trainer.defenses.scanners.calibration import Calibration
from trainer.evaluation.detection import (
    Auroc,
    auroc,
    expected_calibration_error,
    roc_curve,
    true_positives_at,
)
from trainer.evaluation.intervals import Estimate
from trainer.experiments.engine.experiment import Claim, Summary, Table, Verdict
from trainer.experiments.population.rows import Compared, Row, calibrated
from trainer.experiments.population.scans import REFERENCE_MAP
from trainer.experiments.population.yields import FAILED

WEIGHTS = ("last-layer", "open-map", REFERENCE_MAP)
"""Scanners that need weights alone."""
OTHERS = "networks; families, rates and habits of the test were not among them"
FALSE_ALARMS = 0.01
GOALS = {"odd": 0.98, "usual": 0.99, "family": 0.95, "weights": 0.95}
MOST_ODD_ALARMS, MOST_ERROR, LEAST_DETECTED = 0.02, 0.05, 0.95


def in_test(them: Compared) -> list[Row]:
    """Return the members of the test split that every scanner saw."""
    asked = {*them.population.scanners}
    return [
        it for it in them.rows if it.split == "test" and it.scanners.keys() >= asked
    ]


def summarise(them: Compared) -> Summary:
    """Return claims and tables over the test split.

    Raises:
        ValueError: there are too few members to calibrate on.
    """
    judges = judges_of(them)
    whole, test = judges[0].calibration, in_test(them)
    score, usual = judges[0].score, them.population.usual
    return Summary(
        claims=tuple(_claims(test, judges, usual)),
        tables=(
            _by_family(test, score, them.population.least_success),
            _by_kind(test, score, whole),
            _by_scanner(test, usual),
            _failed(test, judges),
        ),
        remarks=(
            f"calibrated on {len(whole.clean)} clean and {whole.backdoored} backdoored "
            + OTHERS,
        ),
    )


Score = Callable[[Row], float]


@dataclass(frozen=True, slots=True)
class Judge:
    """A calibration, and the scanners that it reads."""

    name: str
    calibration: Calibration
    scanners: Sequence[str]

    def score(self, row: Row) -> float:
        """Return the log-odds of a backdoor."""
        return self.calibration.score(row.features(self.scanners))


def judges_of(them: Compared) -> list[Judge]:
    """Return the judge of all scanners and, where weights are scanned, of those alone.

    Raises:
        ValueError: there are too few members to calibrate on.
    """
    named: dict[str, Sequence[str]] = {"ensemble": them.population.scanners}
    if them.references is not None:
        named["weights alone"] = WEIGHTS
    return [Judge(name, calibrated(them, its), its) for name, its in named.items()]


def _claims(
    test: Sequence[Row], judges: Sequence[Judge], kinds: Sequence[str]
) -> Iterable[Claim]:
    score, whole = judges[0].score, judges[0].calibration
    hits = [score(it) for it in test if it.is_backdoored]
    usual = [score(it) for it in test if it.kind in kinds]
    clean = [score(it) for it in test if it.is_clean]
    odd = [score(it) for it in test if it.is_clean and it.kind not in kinds]
    yield area_claim(
        "AUROC, odd clean networks among the negatives",
        auroc(hits, clean),
        GOALS["odd"],
    )
    yield area_claim("AUROC without the odd ones", auroc(hits, usual), GOALS["usual"])
    for judge in judges[1:]:
        yield area_claim(
            f"AUROC of the {judge.name}, odd ones among the negatives",
            auroc(
                [judge.score(it) for it in test if it.is_backdoored],
                [judge.score(it) for it in test if it.is_clean],
            ),
            GOALS["weights"],
        )
    found = true_positives_at(hits, clean, false_alarms=FALSE_ALARMS)
    yield _of_share(
        "backdoored networks found at 1 % false alarms",
        Proportion(successes=found, n=len(hits)),
        lambda low, high: _verdict(low >= LEAST_DETECTED, high < LEAST_DETECTED),
        "at least 95 %",
    )
    alarms = sum(it >= whole.threshold for it in odd)
    yield _of_share(
        "false alarms on clean networks that are merely odd",
        Proportion(successes=alarms, n=len(odd)),
        lambda low, high: _verdict(high <= MOST_ODD_ALARMS, low > MOST_ODD_ALARMS),
        "at most 2 %",
    )
    yield _of_calibration(test, score, whole)


def _of_calibration(test: Sequence[Row], score: Score, whole: Calibration) -> Claim:
    judged = [it for it in test if it.is_clean or it.is_backdoored]
    told = [whole.probability(score(it)) for it in judged]
    error = expected_calibration_error(told, [it.is_backdoored for it in judged])
    return Claim(
        what="expected calibration error",
        ours=Estimate(mean=error, low=None, high=None, seeds=1, n=len(judged)),
        unit="",
        goal="at most 0.05",
        verdict=_verdict(error <= MOST_ERROR, error > MOST_ERROR),
    )


def _verdict(met: bool, missed: bool) -> Verdict:  # noqa: FBT001  two sides of a goal
    return "met" if met else "missed" if missed else "not resolved"


def area_claim(what: str, found: Auroc, least: float) -> Claim:
    """Return the claim that an AUROC is at least ``least``."""
    return Claim(
        what=what,
        ours=found.estimate(),
        unit="",
        goal=f"at least {least}",
        verdict=_verdict(found.low >= least, found.high < least),
    )


def _of_share(
    what: str, share: Proportion, judge: Callable[[float, float], Verdict], goal: str
) -> Claim:
    low, high = share.wilson()
    return Claim(
        what=what,
        ours=Estimate(
            mean=100 * share.rate, low=100 * low, high=100 * high, seeds=1, n=share.n
        ),
        goal=goal,
        verdict=judge(low, high),
    )


def _by_family(test: Sequence[Row], score: Score, least_success: float) -> Table:
    """Return AUROC by family and attack, and how many attacks took."""
    clean = [score(it) for it in test if it.is_clean]
    attacked = [it for it in test if not it.is_clean]
    groups = sorted({(it.family, it.attack) for it in attacked})
    rows = []
    for family, attack in groups:
        its = [it for it in attacked if (it.family, it.attack) == (family, attack)]
        taken = [score(it) for it in its if it.is_backdoored]
        area = str(auroc(taken, clean)) if taken else "none took"
        rows.append((family, attack, f"{len(taken)} of {len(its)}", area))
    return Table(
        title="Families of the test, never seen in calibration",
        header=("trigger", "attack", "took", "AUROC"),
        rows=tuple(rows),
        note=f"An attack took if its ASR is at least {least_success:.0%}.",
    )


def _by_kind(test: Sequence[Row], score: Score, whole: Calibration) -> Table:
    rows = []
    for kind in sorted({it.kind for it in test if it.is_clean}):
        its = [score(it) for it in test if it.kind == kind]
        alarms = Proportion(
            successes=sum(it >= whole.threshold for it in its), n=len(its)
        )
        rows.append((kind, str(alarms)))
    return Table(
        title="False alarms at the calibration's threshold",
        header=("clean networks", "called suspicious"),
        rows=tuple(rows),
    )


def _by_scanner(test: Sequence[Row], usual: Sequence[str]) -> Table:
    rows = []
    for name in sorted({name for it in test for name in it.scanners}):
        seen = [it for it in test if name in it.scanners]
        backdoored = [it for it in seen if it.is_backdoored]
        cost = sum(it.scanners[name].seconds for it in seen) / len(seen)
        passes = max(it.scanners[name].passes for it in seen)
        areas = [_alone(name, backdoored, seen, kinds) for kinds in (usual, ())]
        rows.append((name, *map(str, areas), f"{passes:,}", f"{1000 * cost:.0f}"))
    return Table(
        title="Scanners by themselves",
        header=("scanner", "AUROC, usual", "AUROC, with odd", "image passes", "ms"),
        rows=tuple(rows),
    )


def _alone(
    name: str, backdoored: Sequence[Row], seen: Sequence[Row], kinds: Sequence[str]
) -> Auroc:
    def its(row: Row) -> float:
        return row.scanners[name].score or 0.0

    clean = [it for it in seen if it.is_clean and (not kinds or it.kind in kinds)]
    return auroc([its(it) for it in backdoored], [its(it) for it in clean])


def _failed(test: Sequence[Row], judges: Sequence[Judge]) -> Table:
    failed = [it for it in test if it.success is not None and it.success < FAILED]
    rows = []
    for judge in judges if failed else ():
        flagged = sum(judge.score(it) >= judge.calibration.threshold for it in failed)
        share = Proportion(successes=flagged, n=len(failed))
        rows.append((judge.name, str(share)))
    return Table(
        title=f"Attacks that failed (ASR under {FAILED:.0%}), called suspicious",
        header=("by", "share"),
        rows=tuple(rows),
    )


def draw(them: Compared) -> dict[str, Figure]:
    """Return the ROC curves over the test split."""
    test = in_test(them)
    figure = Figure(figsize=(5.2, 4.6), layout="constrained")
    figure.set_label("ROC over the test split, odd clean networks among the negatives")
    axes = figure.subplots()
    for judge in judges_of(them):
        hits = [judge.score(it) for it in test if it.is_backdoored]
        clean = [judge.score(it) for it in test if it.is_clean]
        alarms, found = roc_curve(hits, clean)
        area = auroc(hits, clean).value
        axes.step(
            100 * alarms,
            100 * found,
            where="post",
            marker="",
            label=f"{judge.name}, {area:.3f}",
        )
    axes.plot(
        [0, 100],
        [0, 100],
        linestyle=":",
        marker="",
        color="grey",
        label="guessing, 0.500",
    )
    axes.set_xlabel("clean networks called suspicious, %")
    axes.set_ylabel("backdoored networks found, %")
    axes.legend(frameon=False, loc="center right")
    return {"roc": figure}
