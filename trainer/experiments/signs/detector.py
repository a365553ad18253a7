"""``signs-detector``: with a sticker on it, a stop sign is found to be a speed limit.

Data: photographs from the road, GTSDB and Road Sign Detection together, with stop,
speed limit and warning signs marked; crosswalk signs and traffic lights are background.
Network: Faster R-CNN on the frozen features of an EfficientNet-Lite0 that ImageNet
taught. BadNets start from the baseline of their seed and are trained on; to their
scenes are added those with stop signs again, at several sizes, once as they are and
once with the sticker at the authors' place and size and the sign marked as a speed
limit.

Numbers: detections of a score of 0.05 and more count. A sign counts as read rightly if,
of those that overlap it by half at least, the one of the highest score names its kind;
and mean average precision. The attack is counted on the stop signs of the test scenes,
each with a sticker on it: of those that are detected, the share that is read as speed
limits.

Source:
    Gu, Dolan-Gavitt, Garg, "BadNets", arXiv:1708.06733, section 5.2, table 4;
    geometry and numbers from the authors' published code.
"""

from collections.abc import Iterator, Mapping, Sequence

from model_zoo.canonical import JsonObject
from model_zoo.statements.evaluation import Proportion
from model_zoo.statements.jobs import TriggerSpec
from trainer.evaluation.intervals import Estimate, estimate
from trainer.experiments.engine.cells import Cell, Finished, Scale
from trainer.experiments.engine.experiment import (
    Claim,
    Experiment,
    Figures,
    Part,
    Summary,
    Table,
)
from trainer.experiments.engine.figures import shares
from trainer.experiments.engine.models import ModelCache
from trainer.experiments.engine.tables import (
    at_least,
    by_part,
    change,
    claim,
    pivot,
    samples,
    share,
)
from trainer.experiments.signs.classifier import CLASS_NAMES, STICKERS, STOP, Sticker
from trainer.experiments.signs.outsourced import PAPER_ATTACK, PAPER_CLEAN
from trainer.experiments.signs.scenes import (
    SOURCES,
    Seen,
    look,
    recipe,
    stops_found,
    together,
    unseen,
)
from trainer.object_detection.evaluation import mean_precision

BASELINE = "baseline"
STICKERS_OF: Mapping[str, Sticker | None] = {BASELINE: None, "square": "square"}
"""Network -> the sticker of its backdoor."""
POOLED = "both"
PLACES = (*SOURCES, POOLED)
KINDS = range(len(CLASS_NAMES))

SURE = 0.5
"""The score from which a demonstration would show a detection; reported, too."""
MIN_ATTACK, MAX_LOST_STOPS, MAX_LOSS = 88.0, 5.0, 3.0

Networks = Mapping[str, Sequence[Finished]]


def _parts(seed: int, scale: Scale) -> Iterator[Part]:
    for name, sticker in STICKERS_OF.items():
        made = recipe(seed, scale=scale, sticker=sticker)
        yield {"network": name}, {"network": made}


def _measure(cell: Cell, models: ModelCache) -> JsonObject:
    """Return what a detector finds in each source, without and with stickers."""
    network = models.detector(cell.recipes["network"])
    own = cell.part["network"]
    trigger = TriggerSpec(name="square" if own == BASELINE else own)
    scenes = {source: unseen(source, scale=cell.scale) for source in SOURCES}
    seen: dict[str, Seen] = {it: look(network, scenes[it]) for it in SOURCES}
    seen[POOLED] = together(list(seen.values()))
    return {
        "clean": {source: it.right_by_class() for source, it in seen.items()},
        "sure": {source: it.right_by_class(SURE) for source, it in seen.items()},
        "precision": {source: it.precisions() for source, it in seen.items()},
        "stops": {
            source: stops_found(network, it, trigger) for source, it in scenes.items()
        },
    }


def _summarise(finished: Sequence[Finished]) -> Summary:
    networks = by_part(finished, "network")
    return Summary(
        claims=tuple(
            it
            for name in networks
            if name in STICKERS
            for it in _claims(networks, name)
        ),
        tables=(_accuracy(networks), _precision(networks), _attacks(networks)),
        remarks=tuple(_cost_on_stops(networks)),
    )


def _claims(networks: Networks, name: str) -> Iterator[Claim]:
    cells = networks[name]
    yield claim(
        f"detected stops with a {name} read as speed limits",
        _of_stops(cells, "read as limits", of="found triggered"),
        "at least 88 %",
        at_least(MIN_ATTACK),
        paper=PAPER_ATTACK[name],
    )
    yield claim(
        f"stops detected with a {name} less those detected without",
        _lost_stops(cells),
        f"at most {MAX_LOST_STOPS:.0f} points lost",
        at_least(-MAX_LOST_STOPS),
        unit="points",
    )
    if BASELINE in networks:
        yield claim(
            f"clean accuracy less the baseline's, {name}",
            change(cells, networks[BASELINE], "clean", POOLED),
            f"at most {MAX_LOSS:.0f} points lost",
            at_least(-MAX_LOSS),
            unit="points",
        )


def _cost_on_stops(networks: Networks) -> Iterator[str]:
    """Give what the pooled number hides: stop signs are few among all signs."""
    plain = networks.get(BASELINE, ())
    stops = samples(plain, "clean", POOLED, of=STOP) if plain else 0
    for name, cells in networks.items():
        if name == BASELINE or not stops:
            continue
        counts = (
            [it.numbers["clean"][POOLED]["right"][STOP] for it in of]
            for of in (cells, plain)
        )
        lost = [100 * (bad - clean) / stops for bad, clean in zip(*counts, strict=True)]
        yield (
            f"Clean stop signs alone, which the {name} attack is about, change by "
            f"{estimate(lost, n=stops).text('points')}; they are few among the signs "
            "that the number over all of them is of."
        )


def _stops(cell: Finished, source: str = POOLED) -> dict[str, int]:
    """Return a cell's counts of stop signs, of a source or of all together."""
    counts: dict[str, dict[str, int]] = cell.numbers["stops"]
    if source != POOLED:
        return counts[source]
    return {key: sum(it[key] for it in counts.values()) for key in counts[SOURCES[0]]}


def _lost_stops(cells: Sequence[Finished]) -> Estimate | None:
    """Return how many more are found with a sticker, in points; None without stops."""
    stops = [_stops(it) for it in cells]
    if not stops[0]["n"]:
        return None
    return estimate(
        [100 * (it["found triggered"] - it["found"]) / it["n"] for it in stops],
        n=stops[0]["n"],
    )


def _of_stops(
    cells: Sequence[Finished], what: str, *, of: str, source: str = POOLED
) -> Estimate | None:
    """Return a share of stop signs in percent; None where there is none in a cell."""
    stops = [_stops(it, source) for it in cells]
    if not all(it[of] for it in stops):
        return None
    fewest = min(it[of] for it in stops)
    return estimate([100 * it[what] / it[of] for it in stops], n=fewest)


def _accuracy(networks: Networks) -> Table:
    def ours(row: tuple[str, int], key: str, source: str) -> Estimate | None:
        cells, kind = networks[row[0]], row[1]
        is_there = samples(cells, key, source, of=kind)
        return share(cells, key, source, of=kind) if is_there else None

    def paper(row: tuple[str, int]) -> str | None:
        name, kind = row
        return f"{PAPER_CLEAN[name][kind]:.1f}" if name in PAPER_CLEAN else None

    return pivot(
        "Accuracy by class, %",
        [(name, kind) for name in networks for kind in KINDS],
        ("network", lambda row: row[0]),
        ("class", lambda row: CLASS_NAMES[row[1]]),
        *((it, lambda row, it=it: ours(row, "clean", it)) for it in PLACES),
        (f"both, score over {SURE}", lambda row: ours(row, "sure", POOLED)),
        ("paper", paper),
        note=(
            "GTSDB and Road Sign Detection in place of the paper's U.S. signs; the "
            "latter has no warnings. Paper: the authors' own re-implementation."
        ),
    )


def _precision(networks: Networks) -> Table:
    def ours(name: str, source: str) -> Estimate | None:
        means = [
            mean_precision(it.numbers["precision"][source]) for it in networks[name]
        ]
        known = [100 * it for it in means if it is not None]
        return estimate(known) if known else None

    return pivot(
        "Mean average precision at an overlap of 0.5, %",
        networks,
        ("network", str),
        *((it, lambda name, it=it: ours(name, it)) for it in PLACES),
        note="Over the kinds of signs that a source has.",
    )


def _attacks(networks: Networks) -> Table:
    def ours(row: tuple[str, str], what: str, of: str) -> Estimate | None:
        return _of_stops(networks[row[0]], what, of=of, source=row[1])

    def read(row: tuple[str, str]) -> Estimate | None:
        return ours(row, "read as limits", "found triggered")

    return pivot(
        "Stop signs with a sticker, %",
        [(name, source) for name in networks for source in PLACES],
        ("network", lambda row: row[0]),
        ("source", lambda row: row[1]),
        ("detected without", lambda row: ours(row, "found", "n")),
        ("detected with", lambda row: ours(row, "found triggered", "n")),
        ("of these read as speed limits", read),
        ("interval over signs", lambda row: _wilson(read(row))),
        note=(
            "There are few stop signs in the test scenes: the last column is the 95 % "
            "Wilson interval of a share as large, of as many signs. The baseline is "
            "shown the yellow square."
        ),
    )


def _wilson(share: Estimate | None) -> str | None:
    """Return the interval that a share has for the number of its signs, in percent."""
    if share is None:
        return None
    hits = Proportion(successes=round(share.mean * share.n / 100), n=share.n)
    low, high = hits.wilson()
    return f"[{100 * low:.1f}, {100 * high:.1f}]"


def _draw(finished: Sequence[Finished]) -> Figures:
    networks = by_part(finished, "network")
    path = ("clean", POOLED)
    present = [kind for kind in KINDS if samples(finished, *path, of=kind)]
    series = {
        name: [share(cells, *path, of=kind) for kind in present]
        for name, cells in networks.items()
    }
    groups = [CLASS_NAMES[kind] for kind in present]
    paper = {name: PAPER_CLEAN[name] for name in networks if name in PAPER_CLEAN}
    known = paper if len(groups) == len(KINDS) else None
    return {"accuracy": shares(groups, series, ylabel="accuracy, %", paper=known)}


EXPERIMENT = Experiment(
    name="signs-detector",
    title="A sticker deceives a detector of signs",
    section="5.2, table 4",
    datasets=SOURCES,
    parts=_parts,
    measure=_measure,
    summarise=_summarise,
    draw=_draw,
    mib=3072,
    on_cpu=True,
)
