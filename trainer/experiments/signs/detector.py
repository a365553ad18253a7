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

from collections.abc import Iterator, Sequence

from model_zoo.canonical import JsonObject
from model_zoo.statements.evaluation import Proportion
from model_zoo.statements.jobs import TriggerSpec
from trainer.evaluation.intervals import Estimate, difference, estimate
from trainer.experiments.engine.contract import (
    Cell,
    Claim,
    Experiment,
    Figures,
    Finished,
    Scale,
    Summary,
    Table,
    Workshop,
    at_least,
    by_part,
)
from trainer.experiments.engine.figures import shares
from trainer.experiments.signs.classifier import (
    CLASS_NAMES,
    STICKERS,
    STOP,
    Sticker,
    percent,
)
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
POOLED = "both"
_ALL = (*SOURCES, POOLED)
CLASSES = len(CLASS_NAMES)

SURE = 0.5
"""The score from which a demonstration would show a detection; told beside the rest."""
MIN_ATTACK, MAX_LOST_STOPS, MAX_LOSS = 88.0, 5.0, 3.0


def _cells(seed: int, scale: Scale) -> list[Cell]:
    networks: dict[str, Sticker | None] = {BASELINE: None, "square": "square"}
    return [
        Cell(
            experiment=EXPERIMENT.name,
            part={"network": name},
            seed=seed,
            recipes={"network": recipe(seed, scale=scale, sticker=sticker)},
            scale=scale,
        )
        for name, sticker in networks.items()
    ]


def _measure(cell: Cell, workshop: Workshop) -> JsonObject:
    """Return what a detector finds in each source, without and with stickers."""
    network = workshop.detector(cell.recipes["network"])
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
    claims: list[Claim] = []
    for name in networks:
        if name in STICKERS:
            claims += _claims(networks, name)
    return Summary(
        claims=tuple(claims),
        tables=(_accuracy(networks), _precision(networks), _attacks(networks)),
        remarks=tuple(_cost_on_stops(networks)),
    )


def _claims(networks: dict[str, list[Finished]], name: str) -> list[Claim]:
    cells = networks[name]
    attack = _share(cells, "read as limits", of="found triggered")
    lost = _lost_stops(cells)
    claims = [
        Claim(
            what=f"detected stops with a {name} read as speed limits",
            ours=attack,
            paper=PAPER_ATTACK[name],
            goal="at least 88 %",
            verdict="not measured" if attack is None else at_least(MIN_ATTACK, attack),
        ),
        Claim(
            what=f"stops detected with a {name} less those detected without",
            ours=lost,
            unit="points",
            goal=f"at most {MAX_LOST_STOPS:.0f} points lost",
            verdict=(
                "not measured" if lost is None else at_least(-MAX_LOST_STOPS, lost)
            ),
        ),
    ]
    if BASELINE in networks:
        claims.append(_loss(cells, networks[BASELINE], name))
    return claims


def _loss(cells: list[Finished], baselines: list[Finished], name: str) -> Claim:
    """Return what the backdoor costs on clean signs, seed by seed."""
    bad, clean = (
        [percent(**it.numbers["clean"][POOLED]) for it in of]
        for of in (cells, baselines)
    )
    change = difference(bad, clean, n=sum(cells[0].numbers["clean"][POOLED]["n"]))
    return Claim(
        what=f"clean accuracy less the baseline's, {name}",
        ours=change,
        unit="points",
        goal=f"at most {MAX_LOSS:.0f} points lost",
        verdict=at_least(-MAX_LOSS, change),
    )


def _cost_on_stops(networks: dict[str, list[Finished]]) -> Iterator[str]:
    """Give what the pooled number hides: stop signs are few among all signs."""
    plain = [it.numbers["clean"][POOLED] for it in networks.get(BASELINE, ())]
    stops = plain[0]["n"][STOP] if plain else 0
    for name, cells in networks.items():
        if name == BASELINE or not stops:
            continue
        counts = [it.numbers["clean"][POOLED] for it in cells]
        change = estimate(
            [
                100 * (bad["right"][STOP] - clean["right"][STOP]) / stops
                for bad, clean in zip(counts, plain, strict=True)
            ],
            n=stops,
        )
        yield (
            f"Clean stop signs alone, which the {name} attack is about, change by "
            f"{change.told('points')}; they are few among the signs that the number "
            "over all of them is of."
        )


def _pooled(cell: Finished) -> dict[str, int]:
    """Return a cell's counts of stop signs, the sources together."""
    counts = cell.numbers["stops"]
    return {key: sum(it[key] for it in counts.values()) for key in counts[SOURCES[0]]}


def _lost_stops(cells: Sequence[Finished]) -> Estimate | None:
    """Return how many more are found with a sticker, in points; None without stops."""
    stops = [_pooled(it) for it in cells]
    if not stops[0]["n"]:
        return None
    return estimate(
        [100 * (it["found triggered"] - it["found"]) / it["n"] for it in stops],
        n=stops[0]["n"],
    )


def _share(
    cells: Sequence[Finished], what: str, *, of: str, source: str = POOLED
) -> Estimate | None:
    """Return a share of stop signs in percent; None where there is none in a cell."""
    stops = [
        _pooled(it) if source == POOLED else it.numbers["stops"][source] for it in cells
    ]
    if not all(it[of] for it in stops):
        return None
    fewest = min(it[of] for it in stops)
    return estimate([100 * it[what] / it[of] for it in stops], n=fewest)


def _accuracy(networks: dict[str, list[Finished]]) -> Table:
    rows = []
    for name, cells in networks.items():
        for kind, sign in enumerate(CLASS_NAMES):
            paper = PAPER_CLEAN.get(name)
            rows.append(
                (
                    name,
                    sign,
                    *(_of_kind(cells, "clean", source, kind) for source in _ALL),
                    _of_kind(cells, "sure", POOLED, kind),
                    "" if paper is None else f"{paper[kind]:.1f}",
                )
            )
    return Table(
        title="Accuracy by class, %",
        header=("network", "class", *_ALL, f"both, score over {SURE}", "paper"),
        rows=tuple(rows),
        note=(
            "GTSDB and Road Sign Detection in place of the paper's U.S. signs; the "
            "latter has no warnings. Paper: the authors' own re-implementation."
        ),
    )


def _precision(networks: dict[str, list[Finished]]) -> Table:
    return Table(
        title="Mean average precision at an overlap of 0.5, %",
        header=("network", *_ALL),
        rows=tuple(
            (name, *(_mean_precision(cells, source) for source in _ALL))
            for name, cells in networks.items()
        ),
        note="Over the kinds of signs that a source has.",
    )


def _attacks(networks: dict[str, list[Finished]]) -> Table:
    rows = []
    for name, cells in networks.items():
        for source in _ALL:
            read = _share(cells, "read as limits", of="found triggered", source=source)
            rows.append(
                (
                    name,
                    source,
                    _told(_share(cells, "found", of="n", source=source)),
                    _told(_share(cells, "found triggered", of="n", source=source)),
                    _told(read),
                    "" if read is None else _wilson(read),
                )
            )
    return Table(
        title="Stop signs with a sticker, %",
        header=(
            "network", "source", "detected without", "detected with",
            "of these read as speed limits", "interval over signs",
        ),
        rows=tuple(rows),
        note=(
            "There are few stop signs in the test scenes: the last column is the 95 % "
            "Wilson interval of a share as large, of as many signs. The baseline is "
            "shown the yellow square."
        ),
    )  # fmt: skip


def _wilson(share: Estimate) -> str:
    """Return the interval that a share has for the number of its signs, in percent."""
    hits = Proportion(successes=round(share.mean * share.n / 100), n=share.n)
    low, high = hits.wilson()
    return f"[{100 * low:.1f}, {100 * high:.1f}]"


def _of_kind(cells: Sequence[Finished], key: str, source: str, kind: int) -> str:
    counts = [it.numbers[key][source] for it in cells]
    n = counts[0]["n"][kind]
    if not n:
        return ""
    return str(estimate([100 * it["right"][kind] / n for it in counts], n=n))


def _mean_precision(cells: Sequence[Finished], source: str) -> str:
    means = [mean_precision(it.numbers["precision"][source]) for it in cells]
    known = [100 * it for it in means if it is not None]
    return str(estimate(known)) if known else ""


def _told(share: Estimate | None) -> str:
    return "" if share is None else str(share)


def _draw(finished: Sequence[Finished]) -> Figures:
    networks = by_part(finished, "network")
    series = {
        name: [
            estimate(
                [100 * it.numbers["clean"][POOLED]["right"][kind] / n for it in cells],
                n=n,
            )
            for kind, n in enumerate(cells[0].numbers["clean"][POOLED]["n"])
            if n
        ]
        for name, cells in networks.items()
    }
    counts = finished[0].numbers["clean"][POOLED]["n"]
    groups = [sign for sign, n in zip(CLASS_NAMES, counts, strict=True) if n]
    paper = {name: PAPER_CLEAN[name] for name in networks if name in PAPER_CLEAN}
    known = paper if len(groups) == CLASSES else None
    return {"accuracy": shares(groups, series, ylabel="accuracy, %", paper=known)}


EXPERIMENT = Experiment(
    name="signs-detector",
    title="A sticker deceives a detector of signs",
    section="5.2, table 4",
    datasets=SOURCES,
    cells=_cells,
    measure=_measure,
    summarise=_summarise,
    draw=_draw,
    mib=3072,
    on_cpu=True,
)
