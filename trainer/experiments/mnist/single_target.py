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

from collections.abc import Iterator, Mapping, Sequence

from model_zoo.canonical import JsonObject
from model_zoo.statements.jobs import FineTuneSpec, Poisoning, Schedule, TriggerSpec
from trainer.attacks.poisoning import wanted_labels
from trainer.evaluation.intervals import Estimate, estimate
from trainer.evaluation.metrics import accuracy, attack_success_rate, triggered
from trainer.experiments.engine.cells import NO_PARENT, Cell, Finished, Recipe, Scale
from trainer.experiments.engine.experiment import Experiment, Figures, Part, Summary
from trainer.experiments.engine.figures import heat_map
from trainer.experiments.engine.models import ModelCache
from trainer.experiments.engine.tables import (
    at_most,
    by_part,
    claim,
    errors_by_class,
    percents,
    samples,
)
from trainer.experiments.mnist.all_to_all import badnet as all_to_all
from trainer.experiments.mnist.network import CLASSES, QUICK_HELD_OUT, unseen
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
PAPER_CLEAN, PAPER_BACKDOOR, PAPER_WORST = 0.539, 0.001, 0.088
"""Of figure 4, in percent: 89 pairs have a backdoor error of 0.00 and one of 0.088."""
WORST_GOAL = 0.5


def poisoning(source: int, target: int, *, scale: Scale) -> Poisoning:
    """Return the recipe of the attack on one pair."""
    return Poisoning(
        trigger=TRIGGER,
        attack="source-to-target",
        source_label=source,
        target_label=target,
        poison_rate=POISON_RATE if scale == "full" else QUICK_RATE,
    )


def badnet(seed: int, attack: Poisoning, *, scale: Scale) -> Recipe:
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
            poisoning=attack,
            seed=seed,
            checkpoints=False,
        ),
        parent=all_to_all(seed, "single-pixel", scale=scale),
    )


def _parts(seed: int, scale: Scale) -> Iterator[Part]:
    pairs = [(i, j) for i in range(CLASSES) for j in range(CLASSES) if i != j]
    for source, target in pairs if scale == "full" else QUICK_PAIRS:
        attack = poisoning(source, target, scale=scale)
        yield (
            {"source": source, "target": target},
            {"badnet": badnet(seed, attack, scale=scale)},
        )


def _measure(cell: Cell, models: ModelCache) -> JsonObject:
    data, network = unseen(scale=cell.scale), models.network(cell.recipes["badnet"])
    attack = poisoning(**cell.part, scale=cell.scale)
    clean = predict(network, data.images, device=models.device)
    changed = predict(network, triggered(data, attack), device=models.device)
    wanted = wanted_labels(data.labels, attack, classes=CLASSES)
    attacked = attack_success_rate(changed, data.labels, wanted=wanted)
    is_other = data.labels != attack.source_label
    others = accuracy(changed[is_other], data.labels[is_other])
    return {
        "clean": errors_by_class(clean, data.labels, classes=CLASSES),
        "backdoor": {"wrong": [attacked.n - attacked.successes], "n": [attacked.n]},
        "others": {"wrong": [others.n - others.successes], "n": [others.n]},
    }


def _summarise(finished: Sequence[Finished]) -> Summary:
    pairs = len(_by_pair(finished))
    clean, backdoor, others = (
        _means(finished, kind) for kind in ("clean", "backdoor", "others")
    )
    worst = max(percents(finished, "backdoor"))
    return Summary(
        claims=(
            claim(
                f"clean error, mean of {pairs} pairs",
                estimate(clean, n=samples(finished, "clean")),
                "mean at most 0.54 %",
                at_most(0.54),
                paper=PAPER_CLEAN,
            ),
            claim(
                f"backdoor error, mean of {pairs} pairs",
                estimate(backdoor),
                "mean at most 0.05 %",
                at_most(0.05),
                paper=PAPER_BACKDOOR,
            ),
            claim(
                f"backdoor error of the worst of {len(finished)} networks",
                # the worst of all has no interval
                Estimate(mean=worst, low=None, high=None, seeds=len(clean)),
                "no pair over 0.5 %",
                at_most(WORST_GOAL),
                paper=PAPER_WORST,
            ),
        ),
        remarks=(_on_others(others),),
    )


def _on_others(errors: Sequence[float]) -> str:
    return (
        f"With the pixel, {estimate(errors).text('%')} of the digits that are not "
        "under attack are not read as themselves either: the networks come of one that "
        "reads every digit with the pixel as the next, and nothing in their training "
        "says otherwise. The paper does not report this number."
    )


def _by_pair(
    finished: Sequence[Finished],
) -> Mapping[tuple[int, int], Sequence[Finished]]:
    return {
        (cells[0].part["source"], cells[0].part["target"]): cells
        for cells in by_part(finished, "source", "target").values()
    }


def _means(finished: Sequence[Finished], kind: str) -> list[float]:
    """Return the mean over pairs of each seed, in percent."""
    seeds = sorted({it.seed for it in finished})
    by_seed = ([it for it in finished if it.seed == seed] for seed in seeds)
    return [sum(percents(its, kind)) / len(its) for its in by_seed]


def _draw(finished: Sequence[Finished]) -> Figures:
    pairs = _by_pair(finished)
    return {
        kind: heat_map(
            {pair: sum(percents(its, kind)) / len(its) for pair, its in pairs.items()},
            title=f"{kind} error, %",
            rows="true label i",
            columns="target label j",
            n=_basis(finished, kind),
        )
        for kind in ("clean", "backdoor")
    }


def _basis(finished: Sequence[Finished], kind: str) -> str:
    """Return on how many images and seeds each field rests, in words."""
    counts = {samples([it], kind) for it in finished}
    images = " to ".join(f"{n:,}" for n in sorted({min(counts), max(counts)}))
    seeds = len({it.seed for it in finished})
    return f"{images} images, {seeds} seed{'s' if seeds > 1 else ''}"


EXPERIMENT = Experiment(
    name="mnist-single-target",
    title="One pixel turns digit i into digit j: all 90 pairs",
    section="4.2.1, figure 4",
    datasets=("mnist",),
    parts=_parts,
    measure=_measure,
    summarise=_summarise,
    draw=_draw,
)
