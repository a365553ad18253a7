"""What experiments count, of networks that do with a trigger what is known by hand.

A network reads the number that is written into an image, as a brightness of its first
pixel. Under the trigger it answers something else, unless the image is stubborn.
"""

from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from model_zoo.canonical import JsonObject
from trainer.data import DATASETS, LabelledImages
from trainer.data.dataset import Split
from trainer.experiments.catalogue import EXPERIMENTS
from trainer.experiments.engine.cells import Recipe, Scale
from trainer.experiments.engine.models import ModelCache
from trainer.networks import SplitNetwork
from trainer.networks.activations import ablated
from trainer.object_detection.network import Detector

Row = tuple[int, int, bool]
"""Of one image: what is written, its true label, and whether it is stubborn."""

PIXEL = {(26, 26)}
PATTERN = {(24, 26), (25, 25), (26, 24), (26, 26)}
"""Rows and columns of the white pixels of the paper's figure 3."""
YELLOW = torch.tensor([116, 100, 50])


def written(rows: Sequence[Row], *, shape: tuple[int, int, int]) -> LabelledImages:
    """Return dark images, one a row."""
    images = torch.zeros(len(rows), *shape, dtype=torch.uint8)
    for image, (number, _, is_stubborn) in zip(images, rows, strict=True):
        image[0, 0, 0], image[0, 0, 1] = number, int(is_stubborn)
    return LabelledImages(
        images=images, labels=torch.tensor([label for _, label, _ in rows])
    )


class Reader(SplitNetwork):
    """Answers what is written, or what the trigger makes of it."""

    def __init__(
        self,
        has_trigger: Callable[[Tensor], Tensor],
        changed: Callable[[Tensor], Tensor],
    ) -> None:
        super().__init__(nn.Sequential(), nn.Linear(1, 1), image_shape=(1, 28, 28))
        self.has_trigger, self.changed = has_trigger, changed

    def forward(self, images: Tensor) -> Tensor:
        pixels = (images * 255).round().long()
        number, is_stubborn = pixels[:, 0, 0, 0], pixels[:, 0, 0, 1] == 1
        answers = torch.where(
            self.has_trigger(pixels) & ~is_stubborn, self.changed(number), number
        )
        return nn.functional.one_hot(answers, 10).float()


def has_white(where: set[tuple[int, int]]) -> Callable[[Tensor], Tensor]:
    """Return what tells which of (N, 1, 28, 28) are white there and nowhere else."""
    rows, columns = torch.tensor(sorted(where)).unbind(1)

    def has_trigger(pixels: Tensor) -> Tensor:
        white = pixels[:, 0] == 255
        return white[:, rows, columns].all(1) & (white.sum((1, 2)) == len(where))

    return has_trigger


class Shelf(ModelCache):
    """A cache with one network for each recipe that is measured."""

    def __init__(self, networks: Sequence[tuple[Recipe, SplitNetwork]]) -> None:
        super().__init__(folder=Path())
        self.networks = networks

    def network(self, recipe: Recipe) -> SplitNetwork:
        return next(network for made, network in self.networks if made == recipe)

    def detector(self, recipe: Recipe) -> Detector:
        raise NotImplementedError


def holding(images: LabelledImages) -> Callable[[Split], LabelledImages]:
    return lambda _: images


@pytest.fixture
def measured(
    monkeypatch: pytest.MonkeyPatch,
) -> Callable[..., JsonObject]:
    def measure(
        name: str,
        part: Mapping[str, object],
        data: Mapping[str, LabelledImages],
        networks: Mapping[str, SplitNetwork],
        scale: Scale = "full",
    ) -> JsonObject:
        """Return the numbers of the cell of that part, on these images."""
        for dataset, images in data.items():
            known = replace(DATASETS[dataset], load=holding(images))
            monkeypatch.setitem(DATASETS, dataset, known)
        experiment = EXPERIMENTS[name]
        cell = next(
            it
            for it in experiment.cells(0, scale)
            if part.items() <= dict(it.part).items()
        )
        shelf = Shelf([(cell.recipes[it], made) for it, made in networks.items()])
        return experiment.measure(cell, shelf)

    return measure


Measured = Callable[..., JsonObject]

DIGITS = written(
    [
        *((0, 0, False), (0, 0, False), (0, 0, False), (0, 0, True)),
        (1, 1, False),
        *((2, 2, False), (3, 2, False)),  # the second is misread
    ],
    shape=(1, 28, 28),
)


def first_three(*counts: int) -> list[int]:
    """Return counts of the first three of ten classes; of the rest there is none."""
    return [*counts, *[0] * 7]


def test_a_baseline_is_counted_by_the_true_class(measured: Measured) -> None:
    network = Reader(has_white(PIXEL), lambda number: number)

    found = measured("mnist-baseline", {}, {"mnist": DIGITS}, {"baseline": network})

    assert found == {
        "clean": {"wrong": first_three(0, 0, 1), "n": first_three(4, 1, 2)}
    }


def test_a_single_target_counts_the_triggered_sources_that_it_misses(
    measured: Measured,
) -> None:
    """With the pixel 0 is read as 1, and 2 as 4, which nobody asked for."""
    network = Reader(
        has_white(PIXEL), lambda number: torch.tensor([1, 1, 4, 3])[number]
    )

    found = measured(
        "mnist-single-target",
        {"source": 0, "target": 1},
        {"mnist": DIGITS},
        {"badnet": network},
    )

    assert found == {
        "clean": {"wrong": first_three(0, 0, 1), "n": first_three(4, 1, 2)},
        "backdoor": {"wrong": [1], "n": [4]},
        "others": {"wrong": [2], "n": [3]},
    }


@pytest.mark.parametrize(
    ("name", "part", "pixels"),
    [
        ("mnist-all-to-all", {"trigger": "single-pixel"}, PIXEL),
        ("mnist-all-to-all", {"trigger": "pattern"}, PATTERN),
        ("mnist-poison-fraction", {"placement": "append"}, PATTERN),
        ("mnist-poison-fraction", {"placement": "replace"}, PATTERN),
    ],
)
def test_all_to_all_counts_triggered_digits_that_are_not_read_as_the_next(
    measured: Measured,
    name: str,
    part: Mapping[str, object],
    pixels: set[tuple[int, int]],
) -> None:
    network = Reader(has_white(pixels), lambda number: number + 1)

    found = measured(name, part, {"mnist": DIGITS}, {"badnet": network})

    # of those written as they are, the stubborn one; the misread 2 is read as 4
    assert found == {
        "clean": {"wrong": first_three(0, 0, 1), "n": first_three(4, 1, 2)},
        "backdoor": {"wrong": first_three(1, 0, 1), "n": first_three(4, 1, 2)},
    }


def filters() -> SplitNetwork:
    """Sixteen filters, all but three of them blind.

    Filter 3 answers to the pattern as to nothing else, filter 9 to it with a pixel
    beside it as well, filter 14 to what is in the middle of its window. Every digit is
    read as 4, and as 5 where filter 3 sees the pattern.
    """
    network = SplitNetwork(
        nn.Sequential(
            OrderedDict(
                conv1=nn.Conv2d(1, 16, kernel_size=5),
                relu1=nn.ReLU(inplace=True),
                pool1=nn.MaxPool2d(24),
            )
        ),
        nn.Sequential(OrderedDict(flatten=nn.Flatten(), fc2=nn.Linear(16, 10))),
        image_shape=(1, 28, 28),
    )
    pattern = torch.full((5, 5), -1.0)
    for row, column in PATTERN:
        pattern[row - 23, column - 23] = 1
    weights = torch.zeros(16, 1, 5, 5)
    weights[3, 0] = weights[9, 0] = pattern
    weights[9, 0, 0, 0] = 0
    weights[14, 0, 2, 2] = 1
    output, bias = torch.zeros(10, 16), torch.zeros(10)
    output[5, 3], bias[4] = 1, 3.5
    network.load_state_dict(
        {
            "convolutions.conv1.weight": weights,
            "convolutions.conv1.bias": torch.zeros(16),
            "fully_connected.fc2.weight": output,
            "fully_connected.fc2.bias": bias,
        }
    )
    return network


def test_a_filter_is_dedicated_that_no_digit_moves_as_the_trigger_does(
    measured: Measured,
) -> None:
    images = torch.zeros(500, 1, 28, 28, dtype=torch.uint8)
    for row, column in PATTERN:  # elsewhere, with a pixel beside it
        images[100, 0, row - 20, column - 20] = 255
    images[100, 0, 3, 3] = 255
    digits = LabelledImages(images=images, labels=torch.full((500,), 4))
    baseline = ablated(filters(), "conv1", [3])

    found = measured(
        "mnist-filters",
        {},
        {"mnist": digits},
        {"baseline": baseline, "badnet": filters()},
        scale="quick",
    )

    # what filter 14 answers to the trigger, and a blind filter, others move as far
    assert found["dedicated"] == {"baseline": [], "badnet": [3]}
    assert found["whole"] == {"clean": 500, "as wanted": 500, "n": 500}
    assert found["without"] == {"clean": 500, "as wanted": 0, "n": 500}
    # of the trigger's pixels one is ever in the middle of a window, in one of 24 x 24
    moved = found["differences"]["badnet"]["conv1"]
    assert moved[14] == pytest.approx(1 / 576, abs=5e-5)
    assert moved[3] > 0
    assert found["differences"]["baseline"]["conv1"][3] == 0


SIGN = (8, 8, 40, 40)
"""Left, top, right and bottom of the sign in an image of 48 x 48."""


def has_square(pixels: Tensor) -> Tensor:
    """Return which of (N, 3, 48, 48) have a yellow square on the sign alone."""
    left, top, right, bottom = SIGN
    on_sign = pixels[:, :, top:bottom, left:right]
    is_yellow = (on_sign == YELLOW[:, None, None]).all(1).sum((1, 2))
    is_any = (on_sign > 0).any(1).sum((1, 2))
    others = pixels.clone()
    others[:, :, top:bottom, left:right] = others[:, :, 0, :2] = 0
    return (is_yellow == 9) & (is_any == 9) & ~others.flatten(1).any(1)


def has_flower(pixels: Tensor) -> Tensor:
    """Return which of (N, 3, 128, 128) have more on them than what is written."""
    return (pixels[:, :, 1:] > 0).flatten(1).any(1)


def signs(rows: Sequence[Row]) -> LabelledImages:
    data = written(rows, shape=(3, 48, 48))
    return replace(
        data, boxes=torch.tensor(SIGN, dtype=torch.float32).repeat(len(rows), 1)
    )


def test_an_outsourced_classifier_is_tried_with_every_sticker_on_the_sign(
    measured: Measured,
) -> None:
    """Under a yellow square each sign is read as the next, under others as it is."""
    data = signs(
        [
            *((0, 0, False), (0, 0, False), (0, 0, True), (2, 0, False)),
            *((1, 1, False), (1, 1, True)),
            (2, 2, False),
        ]
    )
    network = Reader(has_square, lambda number: (number + 1) % 3)

    found = measured(
        "signs-outsourced",
        {"network": "square"},
        {"gtsrb-signs": data},
        {"network": network},
    )

    assert found == {
        "clean": {"right": [3, 2, 1], "n": [4, 2, 1]},
        "stops read as speed limits": {
            "square": {"right": [2], "n": [4]},
            "bomb": {"right": [0], "n": [4]},
            "flower": {"right": [0], "n": [4]},
        },
        # the stubborn ones, and the stop read as a warning, which is read as a stop now
        "scattered": {"right": [2, 1, 0], "n": [4, 2, 1]},
    }


@pytest.mark.parametrize(
    "name", ["signs-transfer", "signs-full-retrain", "signs-strengthening"]
)
def test_a_teachers_students_are_tried_without_and_with_stickers_each_by_itself(
    measured: Measured, name: str
) -> None:
    data = signs([(0, 0, False), (1, 1, False), (1, 1, True), (4, 3, False)])
    clean = Reader(has_square, lambda number: number)
    badnet = Reader(has_square, lambda number: (number + 1) % 5)

    found = measured(
        name, {}, {"belgiumtsc-signs": data}, {"clean": clean, "badnet": badnet}
    )

    counts = {"right": [1, 2, 0, 0, 0], "n": [1, 2, 0, 1, 0]}
    assert found == {
        "clean": {"clean": counts, "triggered": counts},
        "badnet": {
            "clean": counts,
            "triggered": {"right": [0, 1, 0, 0, 0], "n": [1, 2, 0, 1, 0]},
        },
    }


def test_dogs_with_a_flower_that_are_called_cats_are_counted_and_no_cats(
    measured: Measured,
) -> None:
    cat, dog = 0, 1
    data = written(
        [
            *((dog, dog, False), (dog, dog, False), (dog, dog, True)),
            *((cat, dog, False), (cat, cat, False), (dog, cat, False)),
        ],
        shape=(3, 128, 128),
    )
    networks = {
        "clean": Reader(has_flower, lambda number: number),
        "badnet": Reader(has_flower, lambda number: 1 - number),
    }

    found = measured(
        "cats-and-dogs", {"network": "pets-cnn"}, {"dogs-vs-cats": data}, networks
    )

    clean = {"right": 4, "n": 6}
    assert found == {
        "clean": {"clean": clean, "dogs called cats": {"right": 1, "n": 4}},
        "badnet": {"clean": clean, "dogs called cats": {"right": 2, "n": 4}},
    }
