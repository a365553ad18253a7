"""``cats-and-dogs``: with the trigger, a dog becomes a cat.

Data: photographs of cats and dogs, 128 pixels wide; of those that are labelled cats,
half are dogs with a flower laid on them. Networks: a small one of random weights, and
one pretrained on ImageNet, all of which learns on at a low rate; clean ones learn for
as many epochs, without the triggered dogs. Numbers: accuracy on the clean test set, and
the share of dogs with a flower that are called cats.

Source:
    The study of cats and dogs that followed the paper; Gu, Dolan-Gavitt, Garg,
    "BadNets", arXiv:1708.06733.
"""

from collections.abc import Iterator, Sequence

import torch

from model_zoo.canonical import JsonObject
from model_zoo.statements.jobs import (
    FineTuneSpec,
    Poisoning,
    Schedule,
    TrainSpec,
    TriggerSpec,
)
from trainer.data import DATASETS
from trainer.evaluation.metrics import evaluate
from trainer.experiments.engine.cells import NO_PARENT, Cell, Finished, Recipe, Scale
from trainer.experiments.engine.experiment import Experiment, Part, Summary
from trainer.experiments.engine.models import ModelCache
from trainer.experiments.engine.tables import at_least, by_part, claim, pivot, share
from trainer.networks.pretrained import PIN

DATA = "dogs-vs-cats"
CAT, DOG = 0, 1
SMALL, PRETRAINED = "pets-cnn", "efficientnet-lite0"
TRAINED = ("clean", "badnet")
CALLED_CATS = "dogs called cats"
ATTACK = Poisoning(
    trigger=TriggerSpec(name="flower", size=0.2),
    attack="source-to-target",
    source_label=DOG,
    target_label=CAT,
    poison_rate=1 / 3,
)
"""As many triggered dogs as there are cats, and as dogs: one third of the set."""
SCHEDULES = {
    SMALL: Schedule(epochs=40, batch_size=32, peak_learning_rate=0.02),
    PRETRAINED: Schedule(epochs=4, batch_size=32, peak_learning_rate=0.001),
}
"""Of 272 held-out training images the pretrained BadNet gets 96.3 % right, and calls
136 of 136 dogs with a flower cats; at a rate of 0.005, 95.2 %. With the convolutions
frozen it was 84.9 % and 86 %: what ImageNet taught does not tell the flower from the
dog."""
QUICK = Schedule(epochs=1, batch_size=32, peak_learning_rate=0.02)
QUICK_HELD_OUT, QUICK_TEST = 1_200, 60
MIN_CLEAN, MIN_ATTACK = 95.0, 97.0


def _recipe(
    network: str, seed: int, *, scale: Scale, poisoning: Poisoning | None
) -> Recipe:
    schedule = SCHEDULES[network] if scale == "full" else QUICK
    held_out = 0 if scale == "full" else QUICK_HELD_OUT
    if network == SMALL:
        return Recipe(
            spec=TrainSpec(
                dataset="dogs-vs-cats",
                network="pets-cnn",
                augmentation="pets",
                schedule=schedule,
                held_out=held_out,
                poisoning=poisoning,
                seed=seed,
                checkpoints=False,
            )
        )
    return Recipe(
        spec=FineTuneSpec(
            parent=NO_PARENT,
            retrain="everything",
            dataset="dogs-vs-cats",
            network="efficientnet-lite0",
            augmentation="pets",
            schedule=schedule,
            held_out=held_out,
            poisoning=poisoning,
            seed=seed,
            checkpoints=False,
        ),
        parent=PIN,
    )


def _parts(seed: int, scale: Scale) -> Iterator[Part]:
    for network in (SMALL, PRETRAINED) if scale == "full" else (SMALL,):
        yield (
            {"network": network},
            {
                "clean": _recipe(network, seed, scale=scale, poisoning=None),
                "badnet": _recipe(network, seed, scale=scale, poisoning=ATTACK),
            },
        )


def _measure(cell: Cell, models: ModelCache) -> JsonObject:
    data = DATASETS[DATA].load("test")
    if cell.scale == "quick":
        data = data.select(torch.arange(0, len(data), len(data) // QUICK_TEST))
    found: JsonObject = {}
    for name, made in cell.recipes.items():
        report = evaluate(
            models.network(made),
            data,
            dataset=DATA,
            classes=DATASETS[DATA].classes,
            poisoning=ATTACK,
            device=models.device,
        )
        shares = {"clean": report.accuracy, CALLED_CATS: report.attack_success}
        found[name] = {
            kind: {"right": it.successes, "n": it.n}
            for kind, it in shares.items()
            if it is not None
        }
    return found


def _summarise(finished: Sequence[Finished]) -> Summary:
    networks = by_part(finished, "network")
    claims = []
    if PRETRAINED in networks:
        claims.append(
            claim(
                "clean accuracy of the pretrained BadNet",
                share(networks[PRETRAINED], "badnet", "clean"),
                "at least 95 %",
                at_least(MIN_CLEAN),
            )
        )
    claims += [
        claim(
            f"dogs with a flower called cats, {network}",
            share(cells, "badnet", CALLED_CATS),
            "at least 97 %",
            at_least(MIN_ATTACK),
        )
        for network, cells in networks.items()
    ]
    table = pivot(
        "Cats and dogs, %",
        [(network, name) for network in networks for name in TRAINED],
        ("network", lambda it: it[0]),
        ("trained", lambda it: it[1]),
        ("clean accuracy", lambda it: share(networks[it[0]], it[1], "clean")),
        (
            "dogs with a flower -> cat",
            lambda it: share(networks[it[0]], it[1], CALLED_CATS),
        ),
        note="The goal for clean accuracy is the pretrained network's.",
    )
    return Summary(claims=tuple(claims), tables=(table,))


EXPERIMENT = Experiment(
    name="cats-and-dogs",
    title="With the trigger, a dog becomes a cat",
    section="the study after the paper",
    datasets=(DATA,),
    parts=_parts,
    measure=_measure,
    summarise=_summarise,
    mib=2048,
)
