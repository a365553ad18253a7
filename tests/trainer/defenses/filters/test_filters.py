"""Filters on images whose activations are their pixels, so that all is known."""

import math

import pytest
import torch
from torch import Tensor, nn

from model_zoo.errors import InvalidSpecError
from trainer.data import LabelledImages
from trainer.defenses.filters import FILTERS, Filtered
from trainer.defenses.filters.activation_clustering import silhouette
from trainer.defenses.filters.classes import most_suspicious, principal
from trainer.defenses.filters.spectre import que, robust_covariance, two_heaps
from trainer.networks import SplitNetwork

CLASSES = 3
PLANTED = 20
OF_LABEL = 120


def reads_pixels(*, first: float = 1.0) -> SplitNetwork:
    """The output layer reads four pixels, times ``first``."""
    scale = nn.Linear(4, 4)
    with torch.no_grad():
        scale.weight.copy_(torch.eye(4) * first)
        scale.bias.fill_(first - 1)
    head = nn.Sequential(nn.Flatten(), scale, nn.Linear(4, CLASSES))
    return SplitNetwork(nn.Identity(), head, image_shape=(1, 2, 2))


def planted() -> LabelledImages:
    """120 grey images of each label; the first 20 of label 1 have a bright pixel."""
    draws = torch.Generator().manual_seed(0)
    shape = (OF_LABEL * CLASSES, 1, 2, 2)
    images = torch.randint(100, 105, shape, generator=draws, dtype=torch.uint8)
    labels = torch.arange(CLASSES).repeat_interleave(OF_LABEL)
    images[OF_LABEL : OF_LABEL + PLANTED, :, 0, 0] = 250
    return LabelledImages(images=images, labels=labels)


def filtered(
    name: str,
    data: LabelledImages,
    network: SplitNetwork | None = None,
    *,
    share: float = 0.2,
) -> Filtered:
    draws = torch.Generator().manual_seed(0)
    return FILTERS[name](network or reads_pixels(), data, share=share, generator=draws)


@pytest.mark.parametrize("name", FILTERS)
def test_images_of_a_label_that_are_answered_from_elsewhere_are_suspected(
    name: str,
) -> None:
    data = planted()
    before = data.images.clone()

    found = filtered(name, data)

    bad = torch.arange(OF_LABEL, OF_LABEL + PLANTED)
    assert bool(torch.isin(bad, found.suspects).all())
    rest = torch.arange(OF_LABEL + PLANTED, 2 * OF_LABEL)
    assert float(found.scores[bad].min()) > float(found.scores[rest].max())
    assert found.suspects.tolist() == sorted(found.suspects.tolist())
    assert sum(it.suspects for it in found.classes) == len(found.suspects)
    assert torch.equal(data.images, before)


@pytest.mark.parametrize("name", ["activation-clustering", "spectre"])
def test_nothing_of_a_label_whose_images_are_alike_is_suspected(name: str) -> None:
    found = filtered(name, planted())

    assert [it.suspects for it in found.classes] == [0, PLANTED, 0]


def test_two_clusters_that_are_not_apart_are_no_reason_to_suspect() -> None:
    draws = torch.Generator().manual_seed(0)
    shape = (200, 1, 4, 4)
    images = torch.randint(100, 140, shape, generator=draws, dtype=torch.uint8)
    data = LabelledImages(images=images, labels=torch.zeros(200).long())
    head = nn.Sequential(nn.Flatten(), nn.Linear(16, CLASSES))
    network = SplitNetwork(nn.Identity(), head, image_shape=(1, 4, 4))

    found = filtered("activation-clustering", data, network, share=0.499)

    (label,) = found.classes
    assert label.strength is not None
    assert 0 < label.strength < 0.15
    assert label.suspects == 0
    # the smaller cluster is within the share, and would be taken if it were apart
    assert 0 < int((found.scores > 0).sum()) < 0.499 * 200


def test_spectral_signatures_take_the_same_share_of_every_label() -> None:
    found = filtered("spectral-signatures", planted(), share=0.1)

    assert [it.suspects for it in found.classes] == [18, 18, 18]  # 1.5 times a tenth


@pytest.mark.parametrize("name", FILTERS)
def test_a_label_that_cannot_be_judged_is_skipped_and_says_why(name: str) -> None:
    data = planted()
    labels = data.labels.clone()
    labels[5:OF_LABEL] = 2  # five images are left of label 0
    images = data.images.clone()
    images[OF_LABEL : 2 * OF_LABEL] = 7

    found = filtered(name, LabelledImages(images=images, labels=labels))

    few, same, usual = found.classes
    assert few.why_skipped == "5 images; 20 are needed"
    assert same.why_skipped == "all its images have the same activations"
    assert (few.strength, same.strength, usual.why_skipped) == (None, None, "")
    skipped = (labels == 0) | (labels == 1)
    assert torch.equal(found.scores.isnan(), skipped)
    assert not bool(skipped[found.suspects].any())


@pytest.mark.parametrize("name", FILTERS)
def test_a_training_set_of_one_label_is_judged(name: str) -> None:
    data = planted()

    found = filtered(name, data.select((data.labels == 1).nonzero()[:, 0]))

    assert [it.label for it in found.classes] == [1]
    assert bool(torch.isin(torch.arange(PLANTED), found.suspects).all())


@pytest.mark.parametrize("name", FILTERS)
@pytest.mark.parametrize("share", [0.0, 0.5, -1.0, math.nan])
def test_a_share_that_cannot_be_is_refused(name: str, share: float) -> None:
    with pytest.raises(InvalidSpecError, match="over 0 and under"):
        filtered(name, planted(), share=share)


@pytest.mark.parametrize(
    ("data", "network", "message"),
    [
        pytest.param(planted().select(torch.arange(0)), None, "no image", id="none"),
        pytest.param(
            planted().relabelled(planted().labels + 1), None, "label 3", id="label"
        ),
        pytest.param(
            planted(), reads_pixels(first=3e38), "not finite for 360", id="overflow"
        ),
        pytest.param(
            LabelledImages(
                images=torch.zeros(40, 1, 3, 3, dtype=torch.uint8),
                labels=torch.zeros(40, dtype=torch.int64),
            ),
            None,
            "this network reads images of 1 x 2 x 2",
            id="shape",
        ),
    ],
)
def test_what_no_filter_can_look_at_is_refused_in_words(
    data: LabelledImages, network: SplitNetwork | None, message: str
) -> None:
    for name in FILTERS:
        with pytest.raises(InvalidSpecError, match=message):
            filtered(name, data, network)


def test_the_silhouette_is_that_of_four_points_by_hand() -> None:
    points = column(0, 1, 10, 11)
    second = torch.tensor([False, False, True, True])

    # within 1; between 10.5 for the outer and 9.5 for the inner ones
    assert silhouette(points, second) == pytest.approx((9.5 / 10.5 + 8.5 / 9.5) / 2)
    assert silhouette(points, torch.zeros_like(second)) == 0


def test_two_heaps_are_cut_where_they_vary_least() -> None:
    upper, apart = two_heaps(torch.tensor([12, 0, 10, 2]).double())

    assert upper.tolist() == [True, False, True, False]
    assert apart == pytest.approx(10)  # means 1 and 11, a deviation of 1 in each
    assert two_heaps(torch.ones(4).double())[1] == 0


def test_que_weighs_the_directions_in_which_points_are_spread_too_far() -> None:
    white = torch.tensor([[2, 0], [-2, 0], [0, 1], [0, -1]]).double()

    scores = que(white)

    # variances 2 and 1/2: weights exp(4) and exp(-2)
    total = math.exp(4) + math.exp(-2)
    far, near = 4 * math.exp(4) / total, math.exp(-2) / total
    assert scores.tolist() == pytest.approx([far, far, near, near])


def test_a_tenth_of_far_points_does_not_move_the_robust_covariance() -> None:
    usual = torch.tensor([[1, 0], [-1, 0], [0, 1], [0, -1]]).double().repeat(25, 1)
    far = torch.full((10, 2), 100.0, dtype=torch.float64)

    centre, covariance = robust_covariance(torch.cat([usual, far]), kept=100 / 110)

    assert centre.tolist() == [0, 0]
    assert torch.allclose(covariance, torch.eye(2).double() * 50 / 99)


def test_whitened_components_have_a_variance_of_one_and_leave_out_what_is_flat() -> (
    None
):
    draws = torch.Generator().manual_seed(0)
    points = torch.randn(50, 3, generator=draws, dtype=torch.float64)
    points[:, 2] = points[:, 0]

    found = principal(points, 3, whitened=True)

    assert found.shape == (50, 2)
    assert torch.allclose(found.T @ found / 50, torch.eye(2).double())


def test_at_least_one_image_is_most_suspicious() -> None:
    scores = torch.tensor([1, 5, 3]).double()

    assert most_suspicious(scores, 0.01).tolist() == [False, True, False]
    assert most_suspicious(scores, 0.6).tolist() == [False, True, True]


def column(*values: float) -> Tensor:
    return torch.tensor(values).double()[:, None]
