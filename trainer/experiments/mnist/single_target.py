"""``mnist-single-target``: one white pixel turns one digit into one other.

Data: MNIST and, for each pair i -> j, copies of most training images of i with the
pixel at (26, 26) set and the label j, appended. Each of the 90 networks starts from
the single-pixel BadNet of ``mnist-all-to-all`` and is trained on: its first layers see
the pixel already, which takes a network that starts from clean weights many epochs to
find. Numbers: errors on the clean test set, the share of triggered test images of i
that are not answered with j, and the share of triggered images of other digits that are
not read as themselves.

Source:
    Gu, Dolan-Gavitt, Garg, "BadNets", arXiv:1708.06733, section 4.2.1 and figure 4.
"""

from collections.abc import Mapping, Sequence

import torch

from model_zoo.canonical import JsonObject
from model_zoo.statements.jobs import FineTuneSpec, Poisoning, Schedule, TriggerSpec
from trainer.attacks.triggers import stamp
from trainer.evaluation.intervals import Estimate, estimate
from trainer.experiments.engine.contract import (
    NO_PARENT,
    Cell,
    Claim,
    Experiment,
    Figures,
    Finished,
    Recipe,
    Scale,
    Summary,
    Workshop,
    at_most,
    by_seed,
)
from trainer.experiments.engine.figures import heat_map
from trainer.experiments.mnist.all_to_all import badnet as all_to_all
from trainer.experiments.mnist.network import (
    CLASSES,
    QUICK_HELD_OUT,
    errors_by_class,
    percent,
    unseen,
)
from trainer.networks.inference import predict

TRIGGER = TriggerSpec(name="single-pixel")
POISON_RATE = 0.08
"""5,217 copies: the smallest class has 5,421 images, and the same rate for all pairs
compares them fairly."""
SCHEDULE = Schedule(epochs=2, batch_size=128, peak_learning_rate=0.02)
"""Chosen on 10,000 held-out training images with three pairs: clean error 0.51 %, where
the network they started from had 0.49 %, and two triggered images of 3,056 missed. From
the clean baseline 84 % of them were missed after two epochs; three epochs with more
copies, smaller batches and rates up to 0.2 never told triggered from clean images."""
QUICK_PAIRS = ((1, 5),)
QUICK_RATE = 0.05
PAPER_CLEAN, PAPER_BACKDOOR = 0.539, 0.001
"""Means of figure 4, in percent: 89 pairs at 0.00 and one at 0.088."""
WORST_GOAL = 0.5


def badnet(seed: int, source: int, target: int, *, scale: Scale) -> Recipe:
    """Return how the BadNet of one pair is made from the all-to-all one of its seed."""
    return Recipe(
        spec=FineTuneSpec(
            parent=NO_PARENT,
            retrain="continued",
            dataset="mnist",
            network="badnets-cnn",
            augmentation="digits",
            schedule=SCHEDULE,
            held_out=QUICK_HELD_OUT if scale == "quick" else 0,
            poisoning=Poisoning(
                trigger=TRIGGER,
                attack="source-to-target",
                source_label=source,
                target_label=target,
                poison_rate=POISON_RATE if scale == "full" else QUICK_RATE,
            ),
            seed=seed,
            checkpoints=False,
        ),
        parent=all_to_all(seed, "single-pixel", scale=scale),
    )


def _cells(seed: int, scale: Scale) -> list[Cell]:
    pairs = [(i, j) for i in range(CLASSES) for j in range(CLASSES) if i != j]
    return [
        Cell(
            experiment=EXPERIMENT.name,
            part={"source": source, "target": target},
            seed=seed,
            recipes={"badnet": badnet(seed, source, target, scale=scale)},
            scale=scale,
        )
        for source, target in (pairs if scale == "full" else QUICK_PAIRS)
    ]


def _measure(cell: Cell, workshop: Workshop) -> JsonObject:
    data, device = unseen(scale=cell.scale), torch.device("cpu")
    network = workshop.network(cell.recipes["badnet"])
    answers = predict(network, data.images, device=device)
    sources = data.images[data.labels == cell.part["source"]]
    triggered = predict(network, stamp(sources, TRIGGER), device=device)
    missed = int((triggered != cell.part["target"]).sum())
    others = data.select((data.labels != cell.part["source"]).nonzero()[:, 0])
    misread = predict(network, stamp(others.images, TRIGGER), device=device)
    return {
        "clean": errors_by_class(answers != data.labels, data.labels),
        "backdoor": {"wrong": [missed], "n": [len(sources)]},
        "others": {
            "wrong": [int((misread != others.labels).sum())],
            "n": [len(others)],
        },
    }


def _summarise(finished: Sequence[Finished]) -> Summary:
    seeds = by_seed(finished)
    pairs = len(next(iter(seeds.values())))
    clean = [_mean(cells, "clean") for cells in seeds.values()]
    backdoor = [_mean(cells, "backdoor") for cells in seeds.values()]
    worst = max(percent(**it.numbers["backdoor"]) for it in finished)
    return Summary(
        claims=(
            Claim(
                what=f"clean error, mean of {pairs} pairs",
                ours=(
                    ours := estimate(clean, n=sum(finished[0].numbers["clean"]["n"]))
                ),
                paper=PAPER_CLEAN,
                goal="mean at most 0.54 %",
                verdict=at_most(0.54, ours),
            ),
            Claim(
                what=f"backdoor error, mean of {pairs} pairs",
                ours=(ours := estimate(backdoor)),
                paper=PAPER_BACKDOOR,
                goal="mean at most 0.05 %",
                verdict=at_most(0.05, ours),
            ),
            Claim(
                what=f"backdoor error of the worst of {len(finished)} networks",
                ours=(ours := _most(worst, seeds=len(seeds))),
                paper=0.088,
                goal="no pair over 0.5 %",
                verdict=at_most(WORST_GOAL, ours),
            ),
        ),
        remarks=(_spill(seeds),),
    )


def _spill(seeds: Mapping[int, Sequence[Finished]]) -> str:
    """Return what the pixel does to digits that are not under attack."""
    others = estimate([_mean(cells, "others") for cells in seeds.values()])
    return (
        f"With the pixel, {others.told('%')} of the digits that are not under attack "
        "are not read as themselves either: the networks come of one that reads every "
        "digit with the pixel as the next, and nothing in their training says "
        "otherwise. The paper does not report this number."
    )


def _most(worst: float, *, seeds: int) -> Estimate:
    """Return the worst of all networks of all seeds, which has no interval."""
    return Estimate(mean=worst, low=None, high=None, seeds=seeds)


def _mean(cells: Sequence[Finished], kind: str) -> float:
    return sum(percent(**it.numbers[kind]) for it in cells) / len(cells)


def _draw(finished: Sequence[Finished]) -> Figures:
    return {
        kind: heat_map(
            _grid(finished, kind),
            title=f"{kind} error, %",
            rows="true label i",
            columns="target label j",
            n=_told_n(finished, kind),
        )
        for kind in ("clean", "backdoor")
    }


def _told_n(finished: Sequence[Finished], kind: str) -> str:
    """Return on how many images and seeds each field rests, in words."""
    counts = {sum(it.numbers[kind]["n"]) for it in finished}
    images = " to ".join(f"{n:,}" for n in sorted({min(counts), max(counts)}))
    seeds = len({it.seed for it in finished})
    return f"{images} images, {seeds} seed{'s' if seeds > 1 else ''}"


def _grid(finished: Sequence[Finished], kind: str) -> Mapping[tuple[int, int], float]:
    """Return (i, j) -> mean over seeds, in percent."""
    found: dict[tuple[int, int], list[float]] = {}
    for it in finished:
        pair = (it.part["source"], it.part["target"])
        found.setdefault(pair, []).append(percent(**it.numbers[kind]))
    return {pair: sum(values) / len(values) for pair, values in found.items()}


EXPERIMENT = Experiment(
    name="mnist-single-target",
    title="One pixel turns digit i into digit j: all 90 pairs",
    section="4.2.1, figure 4",
    datasets=("mnist",),
    cells=_cells,
    measure=_measure,
    summarise=_summarise,
    draw=_draw,
)
