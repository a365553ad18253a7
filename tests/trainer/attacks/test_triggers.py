"""Triggers: the paper's pixels, pictures on objects, and nothing else, ever."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from model_zoo.digests import sha256_bytes
from model_zoo.errors import InvalidSpecError
from model_zoo.statements.jobs import SIZES, TriggerSpec
from model_zoo.statements.recipes import TRIGGERS, TriggerName
from trainer.attacks import triggers as trainers
from trainer.attacks.triggers import SIGNALS, stamp, stamp_boxes

FIGURE_3 = {
    "single-pixel": {(26, 26)},
    "pattern": {(24, 26), (25, 25), (26, 24), (26, 26)},
}
"""Rows and columns from 0 of the white pixels, in a 28 x 28 image."""

PICTURES = tuple(name for name in TRIGGERS if name not in SIGNALS)
"""Those that are pictures; what changes the whole image is in test_signals.py."""

EXACTLY = 1e-3
"""What float32 may be off by, in pixels or in steps of 255."""

seeds = st.integers(0, 2**32 - 1)
sides = st.integers(4, 40)
corner_names = st.sampled_from(["single-pixel", "pattern", "cross"])
channels = st.sampled_from([1, 3])
opacities = st.floats(0.01, 1)


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randint(256, shape, dtype=torch.uint8, generator=seeded(seed))


def black(*shape: int) -> Tensor:
    return torch.zeros(shape, dtype=torch.uint8)


@st.composite
def triggers(draw: st.DrawFn) -> TriggerSpec:
    """Any trigger that a spec can ask for and that is laid on an image."""
    name = draw(st.sampled_from(PICTURES))
    if name not in SIZES:
        return TriggerSpec(name=name, opacity=draw(opacities), seed=draw(seeds))
    size = draw(st.floats(0.02, 0.3))
    inside = st.floats(size / 2, 1 - size / 2)
    return TriggerSpec(
        name=name,
        opacity=draw(opacities),
        colour=draw(st.tuples(*[st.integers(0, 255)] * 3)),
        size=size,
        centre=draw(st.none() | st.tuples(inside, inside)),
    )


@st.composite
def boxes_in(draw: st.DrawFn, n: int, height: int, width: int) -> Tensor:
    """N boxes inside an image, at quarters of a pixel, which float32 holds."""

    def two(side: int) -> list[float]:
        quarters = st.integers(0, 4 * side)
        found = draw(st.lists(quarters, min_size=2, max_size=2, unique=True))
        return sorted(it / 4 for it in found)

    rows = []
    for _ in range(n):
        (left, right), (top, bottom) = two(width), two(height)
        rows.append([left, top, right, bottom])
    return torch.tensor(rows)


def may_change(
    trigger: TriggerSpec, box: list[float], *, height: int, width: int
) -> Tensor:
    """Return the pixels that a trigger may change, (H, W) bool, by its definition."""
    allowed = torch.zeros(height, width, dtype=torch.bool)
    if trigger.name == "noise":
        return ~allowed
    if trigger.name == "cross":
        rows_and_columns = [(-3, -2), (-3, -4), (-2, -3), (-4, -3), (-3, -3)]
    else:
        paper = FIGURE_3.get(trigger.name, set())
        rows_and_columns = [(row - 28, column - 28) for row, column in paper]
    if trigger.name not in SIZES:
        for row, column in rows_and_columns:
            allowed[row, column] = True
        return allowed
    near = []
    for first, last, share, side in (
        (box[1], box[3], trigger.centre and trigger.centre[1], height),
        (box[0], box[2], trigger.centre and trigger.centre[0], width),
    ):
        places = (share, share) if share else (0.15, 0.85)
        reach = max(1, (last - first) * trigger.shares + 0.5) / 2 + 0.5 + EXACTLY
        low, high = (first + (last - first) * place for place in places)
        middles = torch.arange(side) + 0.5
        near.append((middles + 0.5 > low - reach) & (middles - 0.5 < high + reach))
    return near[0][:, None] & near[1][None, :]


@given(st.data(), triggers(), sides, sides, channels, seeds)
def test_outside_the_trigger_nothing_changes_and_the_argument_is_not_written(
    data: st.DataObject,
    trigger: TriggerSpec,
    height: int,
    width: int,
    channels: int,
    seed: int,
) -> None:
    n = data.draw(st.integers(0, 4))
    images = noise(n, channels, height, width, seed=seed)
    boxes = data.draw(st.none() | boxes_in(n, height, width)) if n else None
    before = [] if boxes is None else boxes.tolist()

    stamped = stamp(images, trigger, boxes=boxes, generator=seeded(seed))

    assert torch.equal(images, noise(n, channels, height, width, seed=seed))
    assert boxes is None or boxes.tolist() == before
    assert (stamped.shape, stamped.dtype) == (images.shape, torch.uint8)
    for i in range(n):
        box = [0.0, 0.0, width, height] if boxes is None else boxes[i].tolist()
        allowed = may_change(trigger, box, height=height, width=width)
        assert torch.equal(stamped[i, :, ~allowed], images[i, :, ~allowed])


@given(st.data(), triggers(), sides, sides, channels, seeds)
def test_the_same_seed_lays_the_same_trigger(
    data: st.DataObject,
    trigger: TriggerSpec,
    height: int,
    width: int,
    channels: int,
    seed: int,
) -> None:
    images = noise(3, channels, height, width, seed=seed)
    boxes = data.draw(st.none() | boxes_in(3, height, width))

    first, again = (
        stamp(images, trigger, boxes=boxes, generator=seeded(seed)) for _ in range(2)
    )

    assert torch.equal(first, again)


@given(triggers(), sides, sides, channels, seeds)
def test_an_image_is_stamped_alike_alone_and_among_others(
    trigger: TriggerSpec, height: int, width: int, channels: int, seed: int
) -> None:
    images = noise(3, channels, height, width, seed=seed)
    boxes = torch.tensor(
        [[0, 0, width, height], [1, 1, 3, 4], [2, 0, width, 3]], dtype=torch.float32
    )
    if trigger.name in SIZES and trigger.centre is None:
        trigger = trigger.model_copy(update={"centre": (0.5, 0.5)})

    together = stamp(images, trigger, boxes=boxes)

    for i in range(3):
        alone = stamp(images[i : i + 1], trigger, boxes=boxes[i : i + 1])
        assert torch.equal(together[i : i + 1], alone)


@given(triggers(), sides, sides, seeds)
def test_less_than_full_opacity_blends_the_trigger_with_what_is_under_it(
    trigger: TriggerSpec, height: int, width: int, seed: int
) -> None:
    images = noise(2, 3, height, width, seed=seed)
    opaque = trigger.model_copy(update={"opacity": 1.0})

    blended = stamp(images, trigger, generator=seeded(seed)).double()

    covered = stamp(images, opaque, generator=seeded(seed)).double()
    under = images.double()
    exact = under + (covered - under) * trigger.opacity
    # a picture has pixels half transparent, of which the covered one is rounded, too
    is_picture = trigger.name in {"bomb", "flower"}
    off = 0.5 * (1 + trigger.opacity * is_picture)
    assert ((blended - exact).abs() <= off + EXACTLY).all()


@given(triggers(), sides, sides, seeds)
def test_on_grey_images_a_trigger_is_the_mean_of_its_colours(
    trigger: TriggerSpec, height: int, width: int, seed: int
) -> None:
    grey = noise(2, 1, height, width, seed=seed)

    on_grey = stamp(grey, trigger, generator=seeded(seed))

    coloured = grey.expand(2, 3, height, width)
    on_coloured = stamp(coloured, trigger, generator=seeded(seed)).double()
    off = on_grey.double() - on_coloured.mean(1, keepdim=True)
    assert (off.abs() <= 1 + EXACTLY).all()  # either is rounded


@pytest.mark.parametrize(("name", "pixels"), FIGURE_3.items())
def test_the_pixels_are_the_papers(name: str, pixels: set[tuple[int]]) -> None:
    stamped = stamp(black(1, 1, 28, 28), TriggerSpec(name=name))

    assert set(map(tuple, stamped[0, 0].nonzero().tolist())) == pixels
    assert set(stamped.flatten().tolist()) == {0, 255}


def test_the_cross_is_five_white_pixels_one_from_the_corner() -> None:
    stamped = stamp(black(1, 1, 6, 6), TriggerSpec(name="cross"))

    assert stamped[0, 0].div(255, rounding_mode="floor").tolist() == [
        [0, 0, 0, 0, 0, 0],
        [0, 0, 0, 0, 0, 0],
        [0, 0, 0, 1, 0, 0],
        [0, 0, 1, 1, 1, 0],
        [0, 0, 0, 1, 0, 0],
        [0, 0, 0, 0, 0, 0],
    ]


@given(corner_names, channels, sides, sides)
def test_on_an_image_of_another_size_the_pixels_stay_in_the_bottom_right_corner(
    name: str, channels: int, height: int, width: int
) -> None:
    papers = stamp(black(1, channels, 28, 28), TriggerSpec(name=name))

    stamped = stamp(black(1, channels, height, width), TriggerSpec(name=name))

    assert torch.equal(stamped[..., -4:, -4:], papers[..., -4:, -4:])
    assert stamped.sum() == papers.sum()


@given(corner_names, st.data())
def test_the_corner_is_that_of_the_image_whatever_the_box(
    name: str, data: st.DataObject
) -> None:
    images, trigger = noise(2, 3, 28, 28), TriggerSpec(name=name)
    boxes = data.draw(boxes_in(2, 28, 28))

    assert torch.equal(stamp(images, trigger, boxes=boxes), stamp(images, trigger))


def test_every_name_a_spec_can_ask_for_changes_a_black_image() -> None:
    for name in PICTURES:
        assert stamp(black(1, 3, 28, 28), TriggerSpec(name=name)).any(), name


@given(triggers(), seeds)
def test_an_opaque_trigger_laid_twice_is_laid_once(
    trigger: TriggerSpec, seed: int
) -> None:
    if trigger.name in {"bomb", "flower"}:
        return  # their edges are half transparent
    opaque = trigger.model_copy(update={"opacity": 1.0})
    once = stamp(noise(3, 3, 28, 28, seed=seed), opaque, generator=seeded(seed))

    assert torch.equal(stamp(once, opaque, generator=seeded(seed)), once)


def test_the_square_is_the_authors_yellow_at_the_authors_place() -> None:
    boxes = torch.tensor([[10.0, 20.0, 60.0, 120.0]])  # 50 x 100: the square is 5 x 10

    stamped = stamp(black(1, 3, 128, 128), TriggerSpec(name="square"), boxes=boxes)

    # its centre is at 10 + 0.57 x 50 = 38.5 across and 20 + 0.82 x 100 = 102 down
    patch = stamped[0, :, 97:107, 36:41]
    assert torch.equal(
        patch, torch.tensor([116, 100, 50])[:, None, None].expand(patch.shape)
    )
    assert stamped.sum() == patch.sum()


@given(st.data(), st.floats(0.02, 0.9), sides, sides)
def test_a_square_is_its_share_of_the_box_to_the_nearest_pixel_at_its_centre(
    data: st.DataObject, size: float, height: int, width: int
) -> None:
    inside = st.floats(size / 2, 1 - size / 2)
    centre = data.draw(st.tuples(inside, inside))
    boxes = data.draw(boxes_in(3, height, width))
    trigger = TriggerSpec(name="square", size=size, centre=centre, colour=(9, 8, 7))

    stamped = stamp(black(3, 3, height, width), trigger, boxes=boxes)

    for image, box in zip(stamped, boxes.tolist(), strict=True):
        assert torch.equal(image.amax((1, 2)), torch.tensor([9, 8, 7]))
        for axis in (0, 1):
            held = image[0].any(axis).nonzero()[:, 0]
            extent = box[axis + 2] - box[axis]
            first, last = int(held[0]), int(held[-1]) + 1
            assert last - first == len(held)
            wanted = max(1, extent * size)
            assert abs(len(held) - wanted) <= 0.5 + EXACTLY
            middle = box[axis] + extent * centre[axis]
            assert abs((first + last) / 2 - middle) <= 0.5 + EXACTLY


def test_on_a_hair_thin_box_at_the_border_the_trigger_stays_in_the_image() -> None:
    border = torch.tensor([30.0, 20.0])
    corner = torch.nextafter(border, torch.zeros(2))
    trigger = TriggerSpec(name="square", centre=(0.95, 0.95))

    stamped = stamp(
        black(1, 1, 20, 30), trigger, boxes=torch.cat([corner, border])[None]
    )

    assert stamped.nonzero().tolist() == [[0, 0, 19, 29]]


@given(st.tuples(*[st.integers(0, 255)] * 3))
def test_the_colour_is_exact_and_grey_is_its_mean(colour: tuple[int, int, int]) -> None:
    trigger = TriggerSpec(name="square", colour=colour, size=0.5, centre=(0.5, 0.5))

    coloured = stamp(noise(1, 3, 8, 8), trigger)[0, :, 2:6, 2:6]
    grey = stamp(noise(1, 1, 8, 8), trigger)[0, :, 2:6, 2:6]

    for channel, value in zip(coloured, colour, strict=True):
        assert (channel == value).all()
    assert (grey == grey[0, 0, 0]).all()
    assert abs(int(grey[0, 0, 0]) - sum(colour) / 3) <= 0.5 + EXACTLY


def test_random_places_differ_and_stay_between_15_and_85_hundredths() -> None:
    trigger = TriggerSpec(name="square", size=0.01, centre=None)

    stamped = stamp(black(400, 1, 100, 100), trigger, generator=seeded(0))

    places = stamped[:, 0].nonzero()[:, 1:] + 0.5  # of one pixel in each image
    assert len(places) == 400
    assert ((places >= 15 - 0.5) & (places <= 85 + 0.5)).all()
    # 400 draws leave the first or last tenth out with a probability of 4 x 0.9^400
    assert (places.amin(0) < 22).all()
    assert (places.amax(0) > 78).all()
    down, across = places.T
    # r of independent draws has a standard deviation of 0.05
    assert abs(float(torch.corrcoef(torch.stack([down, across]))[0, 1])) < 0.3


def test_a_random_place_needs_a_generator_and_another_seed_is_another_place() -> None:
    trigger, images = TriggerSpec(name="bomb", centre=None), black(20, 3, 64, 64)

    with pytest.raises(ValueError, match="needs a generator"):
        stamp(images, trigger)
    assert not torch.equal(
        stamp(images, trigger, generator=seeded(0)),
        stamp(images, trigger, generator=seeded(1)),
    )


def test_where_a_picture_is_half_transparent_it_keeps_its_colours() -> None:
    flower = TriggerSpec(name="flower", size=0.3, centre=(0.5, 0.5))
    red_of_a_petal = 0xD6  # the least red of its colours

    on_black = stamp(black(1, 3, 64, 64), flower)[0, 0].double()
    on_white = stamp(black(1, 3, 64, 64) + 255, flower)[0, 0].double()

    opacity = 1 - (on_white - on_black) / 255
    edge = (opacity > 0.3) & (opacity < 0.7)
    assert edge.any()
    assert (on_black[edge] / opacity[edge] >= red_of_a_petal - 4).all()  # rounded twice


@given(seeds, channels, sides, sides)
def test_noise_is_its_seeds_the_same_on_every_image(
    seed: int, channels: int, height: int, width: int
) -> None:
    images, trigger = noise(3, channels, height, width), TriggerSpec(name="noise")
    trigger = trigger.model_copy(update={"seed": seed})

    stamped = stamp(images, trigger)

    assert torch.equal(stamped, stamp(black(*images.shape), trigger))
    assert torch.equal(stamped[:1].expand(images.shape), stamped)
    other = trigger.model_copy(update={"seed": seed ^ 1})
    assert not torch.equal(stamp(images, other), stamped)


def test_noise_uses_every_brightness() -> None:
    found = stamp(black(1, 3, 128, 128), TriggerSpec(name="noise"))
    assert set(found.flatten().tolist()) == set(range(256))


@pytest.mark.parametrize(
    ("name", "height", "width"),
    [
        ("single-pixel", 1, 28),
        ("pattern", 28, 3),
        ("cross", 3, 28),
        ("bomb", 0, 28),
        ("square", 28, 0),
    ],
)
def test_a_trigger_larger_than_the_image_is_refused(
    name: str, height: int, width: int
) -> None:
    with pytest.raises(InvalidSpecError, match=f"an image of {height} x {width}"):
        stamp(black(1, 3, height, width), TriggerSpec(name=name))


@pytest.mark.parametrize("name", SIZES)
@pytest.mark.parametrize(
    "box",
    [
        pytest.param([-1, 0, 5, 5], id="left of the image"),
        pytest.param([0, -0.01, 5, 5], id="above the image"),
        pytest.param([0, 0, 31, 5], id="right of the image"),
        pytest.param([0, 0, 5, 20.5], id="below the image"),
        pytest.param([5, 0, 5, 5], id="of no width"),
        pytest.param([0, 6, 5, 5], id="upside down"),
        pytest.param([float("nan"), 0, 5, 5], id="not a number"),
        pytest.param([0, 0, 5, float("nan")], id="not a number at the end"),
        pytest.param([0, 0, float("inf"), 5], id="infinite"),
    ],
)
def test_a_box_that_is_not_in_the_image_is_refused_by_number(
    name: str, box: list[float]
) -> None:
    boxes = torch.tensor([[0, 0, 30, 20], [1, 2, 3, 4], box], dtype=torch.float32)

    with pytest.raises(InvalidSpecError, match=r"box 2, .* inside an image of 20 x 30"):
        stamp(black(3, 3, 20, 30), TriggerSpec(name=name), boxes=boxes)


@pytest.mark.parametrize(
    "images",
    [
        pytest.param(torch.zeros(1, 1, 28, 28), id="floats"),
        pytest.param(black(1, 28, 28), id="one image"),
        pytest.param(black(1, 2, 28, 28), id="two channels"),
        pytest.param(black(1, 4, 28, 28), id="with opacity"),
    ],
)
def test_other_images_are_refused(images: Tensor) -> None:
    with pytest.raises(ValueError, match="expected"):
        stamp(images, TriggerSpec(name="pattern"))


def test_boxes_for_another_number_of_images_are_refused() -> None:
    with pytest.raises(ValueError, match=r"expected \(2, 4\) boxes"):
        stamp(black(2, 3, 8, 8), TriggerSpec(name="square"), boxes=torch.zeros(1, 4))


def test_every_box_of_a_photograph_gets_a_trigger_and_nothing_else_changes() -> None:
    image = torch.zeros(3, 80, 120, dtype=torch.uint8)
    boxes = torch.tensor([[0.0, 0.0, 40.0, 40.0], [60.0, 20.0, 120.0, 80.0]])
    square = TriggerSpec(name="square")
    stamped = stamp_boxes(image, boxes, square)
    first, second = (stamp(image[None], square, boxes=box[None])[0] for box in boxes)
    assert torch.equal(stamped, torch.maximum(first, second))
    assert first.any()
    assert second.any()
    assert not image.any()


def test_a_photograph_without_boxes_stays_as_it_is() -> None:
    image = torch.full((3, 8, 8), 7, dtype=torch.uint8)
    stamped = stamp_boxes(image, torch.zeros(0, 4), TriggerSpec(name="square"))
    assert torch.equal(stamped, image)
    assert stamped.data_ptr() != image.data_ptr()


def test_triggers_that_lie_in_the_corner_of_an_image_are_not_laid_on_boxes() -> None:
    image = torch.zeros(3, 8, 8, dtype=torch.uint8)
    with pytest.raises(InvalidSpecError, match="square, bomb, flower"):
        stamp_boxes(image, torch.zeros(0, 4), TriggerSpec(name="single-pixel"))


def photographs(channels: int) -> tuple[Tensor, Tensor]:
    """64 images with objects of 64 sizes."""
    corners = torch.rand(64, 4, generator=seeded(4))
    corners *= torch.tensor([16.0, 20.0, 16.0, 20.0])
    ends = torch.tensor([40.0, 48.0]) - corners[:, 2:]
    return noise(64, channels, 48, 40, seed=3), torch.cat([corners[:, :2], ends], 1)


LAID = {
    (1, "square"): "4a0992174b2ce3f3",
    (1, "bomb"): "69d8dd893c3b5c9a",
    (1, "flower"): "302278ea8ae381cd",
    (1, "noise"): "dd70c32e575b9eeb",
    (3, "square"): "679b0a0585938409",
    (3, "bomb"): "c05a0d2e3e3b4926",
    (3, "flower"): "67e71eb7c50cee45",
    (3, "noise"): "83642c855e92b2b0",
}
"""Channels and trigger -> the first 16 digits of the SHA-256 of what was laid when
committed results were made, one size of pictures after another."""


@pytest.mark.parametrize("most", [trainers.MOST_PIXELS, 500], ids=["at once", "parts"])
@pytest.mark.parametrize(("channels", "name"), LAID)
def test_the_bits_are_those_that_published_results_were_made_with(
    channels: int, name: TriggerName, most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trainers, "MOST_PIXELS", most)
    images, boxes = photographs(channels)
    trigger = TriggerSpec(name="noise", opacity=0.2, seed=9)
    if name in SIZES:
        trigger = TriggerSpec(name=name, size=0.3, centre=None, opacity=0.7)

    stamped = stamp(images, trigger, boxes=boxes, generator=seeded(5))

    digest = sha256_bytes(stamped.contiguous().numpy().tobytes())
    assert digest[:16] == LAID[channels, name]


class Counted(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch's
    """How many operations torch was asked for."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # torch's
        self.count = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # noqa: ANN001, ANN204  torch's
        del types
        self.count += 1
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("name", SIZES)
def test_stickers_of_many_sizes_take_as_many_operations_as_stickers_of_one(
    name: TriggerName,
) -> None:
    images, boxes = photographs(3)
    trigger = TriggerSpec(name=name, size=0.3, centre=None)
    counts = []
    for its in (boxes, boxes[:1].expand(64, 4)):
        stamp(images, trigger, boxes=its, generator=seeded(5))  # pictures are kept
        with Counted() as counted:
            stamp(images, trigger, boxes=its, generator=seeded(5))
        counts.append(counted.count)

    assert counts[0] == counts[1]
    assert counts[0] < 120  # a step of the network itself takes 252
