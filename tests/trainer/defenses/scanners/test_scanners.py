"""Scanners on networks whose backdoor was planted by hand: it is found, and where."""

import dataclasses

import pytest
import torch
from torch import Tensor

from model_zoo.errors import InvalidSpecError
from model_zoo.statements.recipes import SCANNERS as NAMES
from tests.trainer.defenses.scanners.planted import (
    ALL,
    CLASSES,
    CORNER,
    ONE,
    SIDE,
    SOURCE,
    TARGET,
    images,
    network,
)
from trainer.data import LabelledImages
from trainer.defenses.scanners import SCANNERS
from trainer.defenses.scanners.perturbation import (
    away_from,
    grow,
    in_range,
    judged,
    towards,
)
from trainer.defenses.scanners.references import References
from trainer.defenses.scanners.subject import (
    Budget,
    BudgetSpentError,
    Finding,
    Subject,
)
from trainer.defenses.scanners.weights import open_rows
from trainer.networks import NETWORKS
from trainer.training.fit import seeded_globals


def subject(
    attack: str = "none",
    *,
    shown: LabelledImages | None = None,
    passes: int = 10**6,
    references: References | None = None,
) -> Subject:
    return Subject(
        network=network(attack),
        images=images() if shown is None else shown,
        budget=Budget(passes=passes, seconds=600),
        generator=torch.Generator().manual_seed(0),
        references=references,
    )


def found(name: str, attack: str) -> Finding:
    return SCANNERS[name](subject(attack))


def place_of_the_largest(trigger: Tensor | None) -> tuple[int, ...]:
    assert trigger is not None
    place = int(trigger[0].abs().argmax())
    return (place // SIDE, place % SIDE)


def test_there_is_a_scanner_under_every_name_that_a_spec_may_use() -> None:
    assert tuple(SCANNERS) == NAMES


@pytest.mark.parametrize(
    ("name", "attack", "sources"),
    [
        ("universal", ALL, {()}),
        ("pairs", ALL, {(label,) for label in range(CLASSES) if label != TARGET}),
        ("by-class", ONE, {(SOURCE,)}),
        ("pairs", ONE, {(SOURCE,)}),
    ],
)
def test_a_planted_backdoor_is_found_with_its_labels_and_its_place(
    name: str, attack: str, sources: set[tuple[int, ...]]
) -> None:
    backdoored, clean = found(name, attack), found(name, "none")
    feature = f"{name}-1"
    assert backdoored.features[feature] > 2 * clean.features[feature]
    assert backdoored.score > clean.score
    assert backdoored.source_labels in sources
    assert backdoored.target_labels == (TARGET,)
    assert place_of_the_largest(backdoored.trigger) == CORNER


def test_neural_cleanse_finds_the_one_pixel_that_is_enough() -> None:
    backdoored, clean = found("neural-cleanse", ALL), found("neural-cleanse", "none")
    assert backdoored.target_labels == (TARGET,)
    assert place_of_the_largest(backdoored.trigger) == CORNER
    assert backdoored.features["cleanse-norm"] < 1.5
    assert clean.features["cleanse-norm"] > 5


def test_the_maximum_margin_is_that_of_the_planted_label() -> None:
    backdoored = found("maximum-margin", ALL)
    assert backdoored.target_labels == (TARGET,)
    assert backdoored.features["margin-ratio"] > 3
    assert (
        backdoored.features["margin-p"]
        < found("maximum-margin", "none").features["margin-p"]
    )


def test_a_perturbation_goes_up_the_slope_and_no_further_than_its_radius() -> None:
    it = subject(ALL)
    shown = it.by_class(4)
    objective = towards(torch.full((CLASSES,), TARGET))
    grown = grow(it, shown, objective, radii=(0.5, 1.0), steps=4)
    for radius, perturbations in grown.items():
        norms = perturbations.flatten(1).norm(dim=1)
        assert torch.all(norms <= radius * 1.001)
    before = judged(it, shown, torch.zeros_like(shown[:, 0]), objective)
    after = judged(it, shown, grown[1.0], objective)
    others = torch.arange(CLASSES) != TARGET
    assert torch.all(after[others] > before[others])


def test_a_pixel_at_the_end_of_its_range_has_a_slope_inwards_alone() -> None:
    pixels = torch.tensor([0.0, 0.5, 1.0, -0.2, 1.2], requires_grad=True)
    for sign, expected in ((1, [1, 1, 0, 1, 0]), (-1, [0, -1, -1, 0, -1])):
        (slope,) = torch.autograd.grad(sign * in_range(pixels).sum(), pixels)
        assert slope.tolist() == expected
    assert torch.equal(in_range(pixels), pixels.clamp(0, 1))


def test_objectives_are_the_margins_known_by_hand() -> None:
    logits = torch.tensor([[[3.0, 1.0, -2.0], [0.0, 5.0, 4.0]]])
    labels = torch.tensor([[0, 1]])
    assert away_from(labels)(logits).tolist() == [[-2.0, -1.0]]
    assert towards(torch.tensor([2]))(logits).tolist() == [[-5.0, -1.0]]


def test_every_pass_is_counted_and_the_budget_holds() -> None:
    it = subject(passes=10)
    it.logits(torch.zeros(2, 5, 1, SIDE, SIDE))
    assert it.budget.spent == 10
    with pytest.raises(BudgetSpentError, match="10 image passes"):
        it.logits(torch.zeros(1, 1, 1, SIDE, SIDE))


def test_images_of_each_class_are_of_it_and_a_search_is_judged_on_none_it_saw() -> None:
    it = subject()
    shown, judged = it.by_class(8, "shown"), it.by_class(8, "judged")
    answers = it.logits(shown).argmax(2)
    assert torch.equal(answers, torch.arange(CLASSES)[:, None].expand(-1, 8))
    pictures = torch.cat([shown, judged], dim=1).flatten(2)
    assert all(len(its.unique(dim=0)) == 16 for its in pictures)


def test_a_class_of_few_images_repeats_them_and_keeps_half_to_judge_on() -> None:
    it = subject(shown=images(CLASSES * 5))
    shown, judged = it.by_class(9, "shown"), it.by_class(9, "judged")
    assert shown.shape[:2] == judged.shape[:2] == (CLASSES, 9)
    for its, others in zip(shown.flatten(2), judged.flatten(2), strict=True):
        assert len(torch.unique(its, dim=0)) == 3
        assert len(torch.unique(others, dim=0)) == 2
        assert len(torch.unique(torch.cat([its, others]), dim=0)) == 5


@pytest.mark.parametrize("name", ["universal", "by-class", "pairs", "neural-cleanse"])
def test_too_few_images_are_asked_for_in_words(name: str) -> None:
    few = images(CLASSES * 3)
    with pytest.raises(InvalidSpecError, match=r"label 0: \d+ clean images are needed"):
        SCANNERS[name](subject(shown=few))


@pytest.mark.parametrize("name", ["last-layer", "open-map"])
def test_of_three_labels_none_stands_out(name: str) -> None:
    with seeded_globals(0):
        made = NETWORKS["badnets-cnn"](3).eval()

    with pytest.raises(InvalidSpecError, match="3 labels: 4 are needed"):
        SCANNERS[name](dataclasses.replace(subject(), network=made))


def test_the_open_map_of_a_network_of_one_matrix_is_that_matrix_centred() -> None:
    clean = network()
    planted = clean.get_submodule(clean.output_name).get_parameter("weight")
    expected = (planted - planted.mean(0)).view(CLASSES, 1, SIDE, SIDE)
    assert torch.allclose(open_rows(clean), expected, atol=1e-6)


def test_the_open_map_lets_everything_through_a_real_network() -> None:
    with seeded_globals(0):
        real = NETWORKS["signs-cnn"](5).eval()
    rows = open_rows(real)
    assert rows.shape == (5, 3, 48, 48)
    assert rows.sum(0).abs().max() < 1e-5
    with torch.no_grad():
        real.get_parameter("convolutions.conv1.bias").fill_(-100.0)
    assert torch.equal(open_rows(real), rows)
