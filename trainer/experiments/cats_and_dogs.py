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

from collections.abc import Sequence

import torch

from model_zoo.canonical import JsonObject
from model_zoo.statements.jobs import (
    FineTuneSpec,
    Poisoning,
    Schedule,
    TrainSpec,
    TriggerSpec,
)
from trainer.attacks.triggers import stamp
from trainer.data import DATASETS, LabelledImages
from trainer.evaluation.intervals import Estimate, estimate
from trainer.experiments.engine.contract import (
    NO_PARENT,
    Cell,
    Claim,
    Experiment,
    Finished,
    Recipe,
    Scale,
    Summary,
    Table,
    Workshop,
    at_least,
    by_part,
)
from trainer.networks.inference import predict
from trainer.networks.pretrained import PIN

DATA = "dogs-vs-cats"
CAT, DOG = 0, 1
SMALL, PRETRAINED = "pets-cnn", "efficientnet-lite0"
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


def _recipe(network: str, seed: int, *, scale: Scale, is_backdoored: bool) -> Recipe:
    poisoning = ATTACK if is_backdoored else None
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


def _cells(seed: int, scale: Scale) -> list[Cell]:
    return [
        Cell(
            experiment=EXPERIMENT.name,
            part={"network": network},
            seed=seed,
            recipes={
                name: _recipe(
                    network, seed, scale=scale, is_backdoored=name == "badnet"
                )
                for name in ("clean", "badnet")
            },
            scale=scale,
        )
        for network in ((SMALL, PRETRAINED) if scale == "full" else (SMALL,))
    ]


def _measure(cell: Cell, workshop: Workshop) -> JsonObject:
    data = DATASETS[DATA].load("test")
    if cell.scale == "quick":
        data = data.select(torch.arange(0, len(data), len(data) // QUICK_TEST))
    return {name: _counts(workshop, made, data) for name, made in cell.recipes.items()}


def _counts(workshop: Workshop, made: Recipe, data: LabelledImages) -> JsonObject:
    network, device = workshop.network(made), torch.device("cpu")
    clean = predict(network, data.images, device=device)
    dogs = data.images[data.labels == DOG]
    called = predict(network, stamp(dogs, ATTACK.trigger), device=device)
    return {
        "clean": {"right": int((clean == data.labels).sum()), "n": len(data)},
        "dogs called cats": {"right": int((called == CAT).sum()), "n": len(dogs)},
    }


def _summarise(finished: Sequence[Finished]) -> Summary:
    networks = by_part(finished, "network")
    claims: list[Claim] = []
    if PRETRAINED in networks:
        claims.append(
            Claim(
                what="clean accuracy of the pretrained BadNet",
                ours=(ours := _share(networks[PRETRAINED], "badnet", "clean")),
                goal="at least 95 %",
                verdict=at_least(MIN_CLEAN, ours),
            )
        )
    for network, cells in networks.items():
        ours = _share(cells, "badnet", "dogs called cats")
        claims.append(
            Claim(
                what=f"dogs with a flower called cats, {network}",
                ours=ours,
                goal="at least 97 %",
                verdict=at_least(MIN_ATTACK, ours),
            )
        )
    rows = tuple(
        (
            network,
            name,
            str(_share(cells, name, "clean")),
            str(_share(cells, name, "dogs called cats")),
        )
        for network, cells in networks.items()
        for name in ("clean", "badnet")
    )
    table = Table(
        title="Cats and dogs, %",
        header=("network", "trained", "clean accuracy", "dogs with a flower -> cat"),
        rows=rows,
        note="The goal for clean accuracy is the pretrained network's.",
    )
    return Summary(claims=tuple(claims), tables=(table,))


def _share(cells: Sequence[Finished], name: str, kind: str) -> Estimate:
    counts = [it.numbers[name][kind] for it in cells]
    return estimate([100 * it["right"] / it["n"] for it in counts], n=counts[0]["n"])


EXPERIMENT = Experiment(
    name="cats-and-dogs",
    title="With the trigger, a dog becomes a cat",
    section="the study after the paper",
    datasets=(DATA,),
    cells=_cells,
    measure=_measure,
    summarise=_summarise,
    mib=2048,
)
