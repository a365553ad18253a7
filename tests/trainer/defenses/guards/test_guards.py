"""Guards on networks whose answers are known by hand, and how a threshold is set."""

import math

import pytest
import torch
from torch import Tensor, nn

from model_zoo.errors import InvalidSpecError
from trainer.data import LabelledImages
from trainer.defenses.guards import GUARDS, watch
from trainer.defenses.guards.offers import LEAST_AUROC, measured, require_offer
from trainer.defenses.guards.scale_up import scale_up
from trainer.defenses.guards.strip import strip
from trainer.defenses.guards.ted import ted
from trainer.networks import SplitNetwork

PIXELS = 100


def of_one_pixel(weights: list[float], biases: list[float]) -> SplitNetwork:
    """Logits are ``weights * pixel + biases``, behind a layer that copies the pixel."""
    copy, output = nn.Linear(1, 1), nn.Linear(1, len(weights))
    with torch.no_grad():
        copy.weight.fill_(1)
        copy.bias.zero_()
        output.weight.copy_(torch.tensor(weights)[:, None])
        output.bias.copy_(torch.tensor(biases))
    head = nn.Sequential(nn.Flatten(), copy, nn.ReLU(), output)
    return SplitNetwork(nn.Identity(), head, image_shape=(1, 1, 1))


BRIGHT = of_one_pixel([-10, 10], [5, -5])
"""Label 1 over a half, with a margin that grows with the distance."""


def pixels(*values: int) -> Tensor:
    return torch.tensor(values, dtype=torch.uint8)[:, None, None, None]


def shades() -> LabelledImages:
    """A hundred shades, each with the label that BRIGHT gives it."""
    images = torch.linspace(0, 255, PIXELS).round().to(torch.uint8)[:, None, None, None]
    return LabelledImages(images=images, labels=(images.flatten() > 127).long())


def draws() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def test_strip_is_minus_the_mean_entropy_under_the_overlays() -> None:
    unsure = of_one_pixel([0, 0], [0, 0])
    black = LabelledImages(images=pixels(0, 0), labels=torch.zeros(2).long())

    assert strip(unsure, black, draws())(torch.rand(2, 1, 1, 1)).tolist() == (
        pytest.approx([-math.log(2)] * 2)
    )
    # under black images it is the entropy of the image itself
    chance = 1 / (1 + math.exp(10))
    known = -chance * math.log(chance) - (1 - chance) * math.log(1 - chance)
    found = strip(BRIGHT, black, draws())(torch.ones(1, 1, 1, 1))
    assert found.item() == pytest.approx(-known, rel=1e-5)


def test_scale_up_is_the_share_of_factors_that_leave_the_label() -> None:
    shown = torch.tensor([0.8, 0.08, 0.2])[:, None, None, None]

    # 0.08 is dark at 0.24 and 0.40, and bright at 0.56, 0.72 and 0.88
    found = scale_up(BRIGHT, shades(), draws())(shown)

    assert found.tolist() == pytest.approx([1, 2 / 5, 0])


def test_ted_counts_in_each_layer_who_is_nearer_than_one_of_the_given_label() -> None:
    # label 1 is given between 0.4 and 0.6, so by a trigger, and where it is bright
    network = SplitNetwork(nn.Identity(), _Window(), image_shape=(1, 1, 1))
    clean = LabelledImages(
        images=pixels(0, 26, 51, 255, 230, 242),
        labels=torch.tensor([0, 0, 0, 1, 1, 1]),
    )

    scores = ted(network, clean, draws())
    with torch.inference_mode():
        found = scores(torch.tensor([0.1, 0.95, 0.45])[:, None, None, None])

    # 0.45 is nearer to all three dark ones than to 230 / 255; its logits to none
    assert found.tolist() == pytest.approx([0, 0, math.log(4)])


class _Window(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.copy, self.relu, self.output = nn.Linear(1, 1), nn.ReLU(), nn.Linear(1, 2)
        with torch.no_grad():
            self.copy.weight.fill_(1)
            self.copy.bias.zero_()
            self.output.weight.copy_(torch.tensor([[-1.0], [1.0]]))
            self.output.bias.zero_()

    def forward(self, images: Tensor) -> Tensor:
        pixel = self.relu(self.copy(images.flatten(1)))
        sign = torch.where(pixel > 0.4, 1.0, -1.0)
        logits: Tensor = self.output(sign)
        return logits


def test_ted_says_what_it_lacks() -> None:
    no_relu = SplitNetwork(
        nn.Flatten(), nn.Sequential(nn.Linear(1, 2)), image_shape=(1, 1, 1)
    )
    constant = of_one_pixel([0, 0], [1, 0])

    with pytest.raises(InvalidSpecError, match="images of 1 labels right"):
        ted(constant, shades(), draws())
    with torch.no_grad():
        no_relu.get_parameter("fully_connected.0.weight")[:] = torch.tensor(
            [[-1.0], [1.0]]
        )
        no_relu.get_parameter("fully_connected.0.bias")[:] = torch.tensor([0.5, -0.5])
    with pytest.raises(InvalidSpecError, match="no layer with a ReLU"):
        ted(no_relu, shades(), draws())


@pytest.mark.parametrize("name", GUARDS)
def test_a_score_does_not_depend_on_what_else_is_looked_at(name: str) -> None:
    ready = watch(GUARDS[name], BRIGHT, shades(), false_alarms=0.1, generator=draws())

    _, together = ready.look(pixels(3, 90, 200))
    _, alone = ready.look(pixels(90))

    assert float(alone[0]) == pytest.approx(float(together[1]))


def test_the_threshold_leaves_the_allowed_share_of_unseen_clean_images_above() -> None:
    seen: list[LabelledImages] = []

    def brightness(
        _: SplitNetwork, clean: LabelledImages, __: torch.Generator
    ) -> object:
        seen.append(clean)
        return lambda images: images.flatten().double()

    ready = watch(brightness, BRIGHT, shades(), false_alarms=0.1, generator=draws())  # type: ignore[arg-type]

    # of each label the first half makes ready, and the other sets the threshold
    (used,) = seen
    kept = [*range(25, 50), *range(75, 100)]
    assert len(used) == ready.clean == len(kept)
    assert not bool(torch.isin(shades().images[kept], used.images).any())
    # 5 of 51, the next image counted, would be above: under a tenth; 6 would be over
    fifth = sorted(shades().images[kept].flatten().tolist(), reverse=True)[4]
    assert ready.threshold == pytest.approx(fifth / 255)
    labels, scores = ready.look(pixels(0, 255))
    assert (labels.tolist(), scores.tolist()) == ([0, 1], [0, 1])


@pytest.mark.parametrize(
    ("clean", "false_alarms", "message"),
    [
        pytest.param(shades(), 0.001, "1998 are needed", id="too few"),
        pytest.param(shades(), 0.0, "over 0 and under 1", id="none allowed"),
        pytest.param(shades(), math.nan, "over 0 and under 1", id="not a number"),
        pytest.param(
            shades().relabelled(shades().labels + 1), 0.1, "labels under 2", id="labels"
        ),
        pytest.param(
            LabelledImages(
                images=torch.zeros(40, 1, 2, 2, dtype=torch.uint8),
                labels=torch.zeros(40).long(),
            ),
            0.1,
            "reads images of 1 x 1 x 1",
            id="shape",
        ),
    ],
)
def test_clean_images_that_set_no_threshold_are_refused(
    clean: LabelledImages, false_alarms: float, message: str
) -> None:
    for guard in GUARDS.values():
        with pytest.raises(InvalidSpecError, match=message):
            watch(guard, BRIGHT, clean, false_alarms=false_alarms, generator=draws())


def test_one_clean_image_of_each_label_is_too_few() -> None:
    of_forty = of_one_pixel([0.0] * 40, [0.0] * 40)
    clean = LabelledImages(images=pixels(*range(40)), labels=torch.arange(40))

    for guard in GUARDS.values():
        with pytest.raises(InvalidSpecError, match="no label has two"):
            watch(guard, of_forty, clean, false_alarms=0.1, generator=draws())


def test_answers_that_are_not_finite_are_refused() -> None:
    overflowing = of_one_pixel([3e38, -3e38], [3e38, 0])

    for name in ("strip", "ted"):
        with pytest.raises(InvalidSpecError, match=r"not finite|labels right"):
            watch(
                GUARDS[name],
                overflowing,
                shades(),
                false_alarms=0.1,
                generator=draws(),
            )


def test_a_guard_is_offered_where_it_was_measured_to_work_and_nowhere_else() -> None:
    for (guard, dataset), row in measured().items():
        assert guard in GUARDS
        assert row.networks > 1
        if row.auroc > LEAST_AUROC:
            assert require_offer(guard, dataset) == row
            continue
        with pytest.raises(InvalidSpecError, match=f"its AUROC was {row.auroc:.3f}"):
            require_offer(guard, dataset)
    with pytest.raises(InvalidSpecError, match="was not measured on dogs-vs-cats"):
        require_offer("ted", "dogs-vs-cats")
