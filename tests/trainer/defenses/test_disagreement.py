"""Where two networks answer differently, with networks that differ by one rule."""

import pytest
import torch
from torch import Tensor, nn

from model_zoo.errors import InvalidSpecError
from trainer.data import LabelledImages
from trainer.defenses.disagreement import (
    RANDOM_IMAGES,
    compare_behaviour,
    label_changes,
    random_images,
    separating,
)
from trainer.networks import SplitNetwork

SHAPE = (1, 4, 4)
CPU = torch.device("cpu")


def brightest(*, classes: int = 4, rule: float = 0.0) -> SplitNetwork:
    """Return a network that names the brightest column of the topmost row.

    With a rule, the last pixel adds ``rule`` times its brightness to label 2.
    """
    layer = nn.Linear(16, classes)
    with torch.no_grad():
        layer.weight.zero_()
        layer.bias.zero_()
        for column in range(min(classes, 4)):
            layer.weight[column, column] = 1
        layer.weight[2, 15] = rule
    return SplitNetwork(nn.Flatten(), layer, image_shape=SHAPE)


def columns(count: int) -> LabelledImages:
    """Return black images with one bright pixel in the topmost row, label by label."""
    labels = torch.arange(count) % 4
    images = torch.zeros(count, *SHAPE, dtype=torch.uint8)
    images[torch.arange(count), 0, 0, labels] = 200
    return LabelledImages(images=images, labels=labels)


def test_equal_networks_agree_on_everything() -> None:
    found, shown = compare_behaviour(
        brightest(), brightest(), data=columns(40), device=CPU
    )
    assert found.data is not None
    assert found.data.agreed.rate == found.noise.agreed.rate == 1
    assert found.data.changes == tuple(
        tuple(10 if i == j else 0 for j in range(4)) for i in range(4)
    )
    assert [it.turned.successes for it in found.perturbed if it.turned] == [0] * 3
    assert shown.before.equal(shown.after)


def test_a_rule_shows_on_what_carries_it_and_is_found_without_it() -> None:
    old, new = brightest(), brightest(rule=5)
    found, shown = compare_behaviour(old, new, data=columns(40), device=CPU)
    assert found.data is not None
    assert found.accuracy is not None
    assert found.data.agreed.rate == found.accuracy[1].rate == 1  # black down there
    assert found.noise.agreed.rate < 0.5
    assert found.start == "data"
    *_, largest = found.perturbed
    assert largest.turned is not None
    assert largest.turned.rate > 0.5
    for old_label, row in enumerate(largest.answers.changes):
        others = [n for label, n in enumerate(row) if label not in {old_label, 2}]
        assert others == [0] * len(others)  # it only ever turns into a 2
    assert (shown.answers[:, 2] != shown.answers[:, 3]).all()


def test_the_perturbation_is_where_the_rule_looks() -> None:
    added = separating(
        brightest(),
        brightest(rule=5),
        columns(8).images,
        bound=0.2,
        start=torch.zeros(SHAPE),
    )
    assert added.norm().item() <= 0.2 * 4 + 1e-5
    assert added.abs().argmax().item() == 15


def test_without_data_random_images_are_perturbed() -> None:
    found, _ = compare_behaviour(brightest(), brightest(rule=1), data=None, device=CPU)
    assert (found.data, found.accuracy, found.start) == (None, None, "noise")
    assert found.noise.agreed.n == RANDOM_IMAGES


def test_one_image_is_too_few_to_look_and_to_judge() -> None:
    found, _ = compare_behaviour(brightest(), brightest(), data=columns(1), device=CPU)
    assert found.start == "noise"
    assert found.data is not None
    assert found.data.agreed.n == 1


def test_networks_that_cannot_be_compared_are_told_apart() -> None:
    with pytest.raises(InvalidSpecError, match="labels: 4 in the older network, 3"):
        compare_behaviour(brightest(), brightest(classes=3), data=None, device=CPU)


def test_the_table_counts_who_said_what() -> None:
    pairs = torch.tensor([[0, 0], [0, 2], [0, 2], [2, 1]])
    found = label_changes(pairs, classes=3)
    assert found.changes == ((1, 0, 2), (0, 0, 0), (0, 1, 0))
    assert (found.agreed.successes, found.agreed.n) == (1, 4)


def test_random_images_have_two_grains_and_any_shape() -> None:
    def draw() -> Tensor:
        generator = torch.Generator().manual_seed(3)
        return random_images((3, 5, 6), generator=generator)

    images = draw()
    assert images.shape == (RANDOM_IMAGES, 3, 5, 6)
    assert images.equal(draw())
    coarse = images[-1]
    assert (coarse[:, :4, :4] == coarse[:, :1, :1]).all()
