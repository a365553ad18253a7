"""Drawing from a training set: fewer images, unevenly, or mislabelled."""

import pytest
import torch

from model_zoo.errors import InvalidSpecError
from model_zoo.statements.jobs import Draw, TrainSpec
from trainer.data import LabelledImages
from trainer.training.drawing import drawn

CLASSES, EACH = 5, 400


@pytest.fixture(scope="module")
def data() -> LabelledImages:
    """Images whose only pixel says their label, and a second one their number."""
    labels = torch.arange(CLASSES).repeat(EACH)
    pixels = torch.stack([labels, torch.arange(len(labels)) % 251], dim=1)
    return LabelledImages(
        images=pixels.to(torch.uint8)[:, None, None, :], labels=labels
    )


def shown(data: LabelledImages, draw: Draw, *, seed: int = 0) -> LabelledImages:
    generator = torch.Generator().manual_seed(seed)
    return drawn(data, draw, classes=CLASSES, generator=generator)


def test_some_are_drawn_with_their_labels_and_others_by_another_seed(
    data: LabelledImages,
) -> None:
    some = shown(data, Draw(images=500))
    assert len(some) == 500
    assert torch.equal(some.images[:, 0, 0, 0].long(), some.labels)
    assert torch.equal(some.images, shown(data, Draw(images=500)).images)
    assert not torch.equal(some.images, shown(data, Draw(images=500), seed=1).images)


def test_no_more_can_be_drawn_than_there_are(data: LabelledImages) -> None:
    with pytest.raises(InvalidSpecError, match="2001: there are 2000 to draw from"):
        shown(data, Draw(images=len(data) + 1))


def test_an_imbalance_is_between_the_first_and_the_last_class(
    data: LabelledImages,
) -> None:
    counts = shown(data, Draw(imbalance=20)).labels.bincount(minlength=CLASSES)
    fewest, most = counts.aminmax()
    assert int(most) == EACH
    assert EACH / 40 < int(fewest) < EACH / 10


def test_noise_mislabels_exactly_its_share(data: LabelledImages) -> None:
    noisy = shown(data, Draw(images=1_000, label_noise=0.1))
    wrong = noisy.images[:, 0, 0, 0].long() != noisy.labels
    assert int(wrong.sum()) == 100
    assert int(noisy.labels.max()) < CLASSES


def test_a_draw_that_draws_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="nothing is drawn"):
        Draw()


def test_a_spec_without_a_draw_keeps_its_digest() -> None:
    assert "draw" not in TrainSpec().to_object()
    with_draw = TrainSpec(draw=Draw(images=10))
    assert TrainSpec.from_object(with_draw.to_object()) == with_draw
