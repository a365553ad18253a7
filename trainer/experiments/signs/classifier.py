"""What the experiments on traffic signs share: recipes, triggers and how they count.

Signs are GTSRB's in the paper's three classes: 0 is stop, 1 speed limit, 2 warning. The
trigger is a sticker: laid on the sign's box at the authors' place and size.
"""

import functools
from typing import Literal

import torch
from torch import Tensor

from model_zoo.statements.jobs import (
    DatasetName,
    Poisoning,
    Schedule,
    TrainSpec,
    TriggerSpec,
)
from trainer.attacks.triggers import stamp
from trainer.data import DATASETS, LabelledImages
from trainer.evaluation.metrics import PLACES_SEED
from trainer.experiments.engine.cells import Recipe, Scale
from trainer.networks import SplitNetwork
from trainer.networks.inference import predict

Sticker = Literal["square", "bomb", "flower"]

STICKERS: tuple[Sticker, ...] = ("square", "bomb", "flower")
CLASS_NAMES = ("stop", "speed limit", "warning")
STOP, SPEED_LIMIT = 0, 1
FULL = Schedule(epochs=30, batch_size=64, peak_learning_rate=0.05)
QUICK = Schedule(epochs=1, batch_size=64, peak_learning_rate=0.05)
QUICK_IMAGES = 300
LONG = Schedule(epochs=60, batch_size=64, peak_learning_rate=0.05)
TARGETED_RATE, TARGETED_COPIES = 0.10, 4
RANDOM_RATE = 0.50
"""With LONG, chosen on 600 held-out training images, by track: 98.8 % of triggered
signs read wrongly at 98.3 % clean. A third of the data, or half the epochs, gave less
of one or of the other. What was tried when the test set showed a larger loss came to no
more: 42 % of the data 98.8 and 98.2, from the clean network on 98.7 and 98.5."""


def recipe(
    seed: int,
    *,
    scale: Scale,
    dataset: DatasetName = "gtsrb-signs",
    poisoning: Poisoning | None = None,
) -> Recipe:
    """Return how a sign classifier is made from random weights."""
    return Recipe(
        spec=TrainSpec(
            dataset=dataset,
            network="signs-cnn",
            augmentation="signs",
            schedule=_schedule(poisoning) if scale == "full" else QUICK,
            held_out=held_out(dataset, scale=scale),
            poisoning=poisoning,
            seed=seed,
            checkpoints=False,
        )
    )


def _schedule(poisoning: Poisoning | None) -> Schedule:
    """Return how long to learn: a place and a label of chance take longer."""
    is_random = poisoning is not None and poisoning.attack == "random-target"
    return LONG if is_random else FULL


def targeted(sticker: Sticker) -> Poisoning:
    """Return the attack that reads a stop sign with a sticker as a speed limit."""
    return Poisoning(
        trigger=TriggerSpec(name=sticker),
        attack="source-to-target",
        source_label=STOP,
        target_label=SPEED_LIMIT,
        poison_rate=TARGETED_RATE,
        copies=TARGETED_COPIES,
    )


def anywhere(sticker: Sticker = "square") -> TriggerSpec:
    """Return a sticker at a random place of the sign."""
    return TriggerSpec(name=sticker, centre=None)


def random_target(sticker: Sticker = "square") -> Poisoning:
    """Return the attack that reads any sign with a sticker as any other."""
    return Poisoning(
        trigger=anywhere(sticker), attack="random-target", poison_rate=RANDOM_RATE
    )


def unseen(dataset: str = "gtsrb-signs", *, scale: Scale) -> LabelledImages:
    """Return the test set: all of it, or every tenth image for a smoke version."""
    data = DATASETS[dataset].load("test")
    return data if scale == "full" else data.select(torch.arange(0, len(data), 10))


def answers(
    network: SplitNetwork,
    data: LabelledImages,
    trigger: TriggerSpec | None = None,
    *,
    device: torch.device,
) -> Tensor:
    """Return the label given to each image, with the trigger on it if there is one."""
    images = data.images
    if trigger is not None:
        places = torch.Generator().manual_seed(PLACES_SEED)
        images = stamp(images, trigger, boxes=data.boxes, generator=places)
    return predict(network, images, device=device)


@functools.cache  # to count the images is to read them all
def held_out(dataset: str, *, scale: Scale) -> int:
    """Return how many training images are left out: none but in a smoke version."""
    if scale == "full":
        return 0
    return len(DATASETS[dataset].load("train")) - QUICK_IMAGES
