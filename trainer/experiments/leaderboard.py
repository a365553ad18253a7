"""``leaderboard``: every attack against every defence, on digits and on signs.

Networks: of each data set one for each attack, which trains on all but the last 5 % of
the training images: those are the defender's. Numbers: ACC, ASR and the accuracy on
triggered images (RA) of the attacked network and of each repaired one, on the whole
test set; of ``scan`` its verdict. A repair sees the defender's images and never the
trigger, has the settings of docs/how-to/repair-a-model.md, and is not tuned to any
attack.

Source:
    Wu et al., "BackdoorBench", NeurIPS 2022, for the grid and DER; of the attacks Gu et
    al. 2017, Chen et al. 2017 (blended), Barni et al. 2019 (SIG), Nguyen, Tran 2021
    (WaNet's warp); of the defences the modules of ``trainer.defenses``.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from matplotlib.figure import Figure

from model_zoo.canonical import JsonObject
from model_zoo.statements.evaluation import EvaluationReport
from model_zoo.statements.jobs import (
    Poisoning,
    RepairSpec,
    Schedule,
    TrainSpec,
    TriggerSpec,
)
from model_zoo.statements.recipes import REPAIRS
from trainer.data import DATASETS
from trainer.defenses.scanners import ENSEMBLE
from trainer.defenses.scanners.calibration import calibrations
from trainer.defenses.scanners.scan import Request, scan
from trainer.evaluation.metrics import evaluate
from trainer.experiments.engine.cells import NO_PARENT, Cell, Finished, Recipe, Scale
from trainer.experiments.engine.experiment import (
    Claim,
    Experiment,
    Figures,
    Part,
    Summary,
    Table,
)
from trainer.experiments.engine.models import ModelCache
from trainer.experiments.engine.tables import at_most, change, claim, pivot, share

BADNETS, UNDEFENDED, SCAN = "BadNets", "none", "scan"
NETWORK = "network"
MAX_ACCURACY_LOSS, MAX_SUCCESS = 1.0, 1.3
LEAST_REPAIRS = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Board:
    """What differs between data sets.

    Attributes:
        network: the architecture.
        augmentation: of training, and of the repairs that learn on.
        schedule: of training.
        held_out: the defender's images, 5 % of all.
        trigger: of BadNets.
        source_label: of the attack on one class.
        target_label: of those with one target.
    """

    network: str
    augmentation: str
    schedule: Schedule
    held_out: int
    trigger: TriggerSpec
    source_label: int
    target_label: int


BOARDS = {
    "mnist": Board(
        network="badnets-cnn",
        augmentation="digits",
        schedule=Schedule(epochs=5, peak_learning_rate=0.1),
        held_out=3_000,
        trigger=TriggerSpec(name="pattern"),
        source_label=1,
        target_label=7,
    ),
    "gtsrb-signs": Board(
        network="signs-cnn",
        augmentation="signs",
        schedule=Schedule(epochs=30, batch_size=64, peak_learning_rate=0.05),
        held_out=260,
        trigger=TriggerSpec(name="square"),
        source_label=0,
        target_label=1,
    ),
}


def attacks(board: Board) -> dict[str, Poisoning]:
    """Return name -> attack."""
    one, target = board.source_label, board.target_label
    return {
        BADNETS: Poisoning(trigger=board.trigger, target_label=target, poison_rate=0.1),
        "BadNets, one class": Poisoning(
            trigger=board.trigger,
            attack="source-to-target",
            source_label=one,
            target_label=target,
            poison_rate=0.1,
            copies=3,
        ),
        "BadNets, all-to-all": Poisoning(
            trigger=board.trigger, attack="all-to-all", poison_rate=0.3
        ),
        "blended": Poisoning(
            trigger=TriggerSpec(name="noise", opacity=0.2),
            target_label=target,
            poison_rate=0.1,
        ),
        "SIG": Poisoning(
            trigger=TriggerSpec(name="sine", opacity=0.75),
            target_label=target,
            poison_rate=0.09,
            placement="replace",
            relabels=False,
        ),
        "WaNet": Poisoning(
            trigger=TriggerSpec(name="warp"), target_label=target, poison_rate=0.3
        ),
    }


LEARNING_ON: dict[str, Any] = {
    "schedule": Schedule(epochs=12, peak_learning_rate=0.2),
}
SETTINGS: Mapping[str, dict[str, Any]] = {
    "fine-tuning": LEARNING_ON,
    "ft-sam": LEARNING_ON,
    "nad": {"schedule": Schedule(epochs=12, peak_learning_rate=0.05)},
}
"""Of the repairs that do not have their defaults, as the how-to says."""
MOVED = ("fine-tuning", "ft-sam", "nad")
"""Repairs that learn on images moved as in training."""
DEFENCES = (UNDEFENDED, *REPAIRS, SCAN)


def _parts(seed: int, scale: Scale) -> Iterator[Part]:
    for dataset, attack in _places(scale):
        board = BOARDS[dataset]
        poisoning = attacks(board)[attack]
        attacked = _attacked(dataset, board, poisoning, seed, scale)
        for defence in DEFENCES:
            part = {"dataset": dataset, "attack": attack, "defence": defence}
            if defence in REPAIRS:
                made = _repaired(dataset, board, attacked, defence, seed, scale)
                yield part, {NETWORK: made}
            elif defence == SCAN:
                yield (
                    {**part, "calibration": _calibration(dataset)},
                    {NETWORK: attacked},
                )
            else:
                yield part, {NETWORK: attacked}


def _places(scale: Scale) -> list[tuple[str, str]]:
    """Return data set and attack; of a smoke version one of each."""
    places = [(name, it) for name, board in BOARDS.items() for it in attacks(board)]
    return places[:1] if scale == "quick" else places


def _attacked(
    dataset: str, board: Board, poisoning: Poisoning, seed: int, scale: Scale
) -> Recipe:
    quick = scale == "quick"
    return Recipe(
        spec=TrainSpec(
            dataset=dataset,
            network=board.network,
            augmentation=board.augmentation,  # type: ignore[arg-type]
            schedule=Schedule(epochs=1) if quick else board.schedule,
            held_out=QUICK_HELD_OUT if quick else board.held_out,
            poisoning=poisoning,
            seed=seed,
            checkpoints=False,
        )
    )


QUICK_HELD_OUT = 58_500
"""A smoke version trains on the first 1,500 digits; its defender has all others."""
QUICK_IMAGES, QUICK_TEST = 300, 1_000
"""… of which it repairs with so many, and so many test images are looked at."""
QUICK_SCANNERS = ("last-layer", "open-map")


def _repaired(
    dataset: str, board: Board, attacked: Recipe, defence: str, seed: int, scale: Scale
) -> Recipe:
    fields: dict[str, Any] = {}
    if defence != "clp":  # which takes nothing but the network
        fields = {
            "held_out": QUICK_IMAGES if scale == "quick" else board.held_out,
            "seed": seed,
            **SETTINGS.get(defence, {}),
        }
        if defence in MOVED:
            fields["augmentation"] = board.augmentation
        if scale == "quick":
            fields["schedule"] = Schedule(epochs=1)
    spec = RepairSpec(
        parent=NO_PARENT,
        network=board.network,
        dataset=dataset,
        defense=defence,
        **fields,
    )
    return Recipe(spec=spec, parent=attacked)


def _calibration(dataset: str) -> str:
    """Return the digest of the calibration that a scan there would use."""
    found = calibrations().get((BOARDS[dataset].network, dataset))
    return "" if found is None else found.digest()


def _measure(cell: Cell, models: ModelCache) -> JsonObject:
    dataset = cell.part["dataset"]
    board = BOARDS[dataset]
    network = models.network(cell.recipes[NETWORK])
    if cell.part["defence"] == SCAN:
        clean = DATASETS[dataset].load("train").last(board.held_out)
        request = Request(
            network=board.network,
            dataset=dataset,
            files=(),
            calibration=calibrations().get((board.network, dataset)),
            scanners=ENSEMBLE if cell.scale == "full" else QUICK_SCANNERS,
        )
        report = scan(network, clean, request).report
        return {
            "verdict": report.verdict,
            "probability": report.probability,
            "p_value": report.p_value,
            "target_labels": list(report.target_labels),
            "passes": report.passes,
        }
    test = DATASETS[dataset].load("test")
    if cell.scale == "quick":
        test = test.select(torch.arange(QUICK_TEST))
    return evaluate(
        network,
        test,
        dataset=dataset,
        classes=DATASETS[dataset].classes,
        poisoning=attacks(board)[cell.part["attack"]],
        device=models.device,
    ).to_object()


def _summarise(finished: Sequence[Finished]) -> Summary:
    cells = _by_place(finished)
    datasets = list(dict.fromkeys(dataset for dataset, _, _ in cells))
    return Summary(
        claims=tuple(it for dataset in datasets for it in _claims(cells, dataset)),
        tables=tuple(_table(cells, dataset) for dataset in datasets),
    )


_Cells = Mapping[tuple[str, str, str], list[Finished]]


def _by_place(finished: Sequence[Finished]) -> _Cells:
    found: dict[tuple[str, str, str], list[Finished]] = {}
    for it in sorted(finished, key=lambda one: one.seed):
        place = tuple(it.part[name] for name in ("dataset", "attack", "defence"))
        found.setdefault(place, []).append(it)
    return found


def _claims(cells: _Cells, dataset: str) -> Iterator[Claim]:
    before = cells[dataset, BADNETS, UNDEFENDED]
    for repair in REPAIRS:
        after = cells[dataset, BADNETS, repair]
        yield claim(
            f"{dataset}, BadNets after {repair}: ACC lost",
            change(before, after, "accuracy"),
            f"at most {MAX_ACCURACY_LOSS} points",
            at_most(MAX_ACCURACY_LOSS),
            unit="points",
        )
        yield claim(
            f"{dataset}, BadNets after {repair}: ASR",
            share(after, "attack_success"),
            f"at most {MAX_SUCCESS} %",
            at_most(MAX_SUCCESS),
        )


def _table(cells: _Cells, dataset: str) -> Table:
    names = list(dict.fromkeys(attack for _, attack, _ in cells))

    def told(attack: str, defence: str) -> str:
        its = cells[dataset, attack, defence]
        if defence == SCAN:
            verdicts = [str(it.numbers["verdict"]) for it in its]
            return ", ".join(f"{verdicts.count(it)} {it}" for it in sorted({*verdicts}))
        accuracy, success, right = (
            share(its, name).mean
            for name in ("accuracy", "attack_success", "robust_accuracy")
        )
        return f"{accuracy:.2f} / {success:.1f} / {right:.1f}"

    return pivot(
        f"{dataset}: ACC / ASR / RA in %",
        names,
        ("attack", str),
        *((defence, lambda it, d=defence: told(it, d)) for defence in DEFENCES),
        note=f"Means over seeds; n = {_n(cells, dataset)} test images, of ASR and RA "
        "those that the attack is meant to change.",
    )


def _n(cells: _Cells, dataset: str) -> int:
    first = cells[dataset, BADNETS, UNDEFENDED][0]
    return EvaluationReport.from_object(first.numbers).accuracy.n


def _draw(finished: Sequence[Finished]) -> Figures:
    cells = _by_place(finished)
    datasets = list(dict.fromkeys(dataset for dataset, _, _ in cells))
    return {f"leaderboard-{name}": _picture(cells, name) for name in datasets}


def _picture(cells: _Cells, dataset: str) -> Figure:
    """Draw what ASR each defence leaves of each attack, dark where it is high."""
    rows = list(dict.fromkeys(attack for _, attack, _ in cells))
    columns = [it for it in DEFENCES if it != SCAN]
    left = [
        [share(cells[dataset, row, it], "attack_success").mean for it in columns]
        for row in rows
    ]
    figure = Figure(figsize=(7.6, 3.2), layout="constrained")
    figure.set_label(f"ASR that is left, %, {dataset}")
    axes = figure.subplots()
    axes.imshow(left, cmap="Oranges", vmin=0, vmax=100, aspect="auto")
    axes.grid(visible=False)
    axes.set_xticks(range(len(columns)), columns, rotation=30, ha="right")
    axes.set_yticks(range(len(rows)), rows)
    for y, line in enumerate(left):
        for x, value in enumerate(line):
            colour = "white" if value > 60 else "black"  # noqa: PLR2004  of the map
            axes.text(x, y, f"{value:.1f}", ha="center", va="center", color=colour)
    return figure


EXPERIMENT = Experiment(
    name="leaderboard",
    title="Attacks against defences",
    section="-",
    datasets=tuple(BOARDS),
    parts=_parts,
    measure=_measure,
    summarise=_summarise,
    draw=_draw,
    seeds=1,
)
