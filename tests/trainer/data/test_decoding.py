"""Pictures: what is in the box stays in the box, and what is no picture is refused."""

from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from model_zoo.errors import LocalError
from tests.trainer.data.small_sets import BOX, draw
from trainer.data import decoding
from trainer.data.decoding import (
    Box,
    around,
    is_inside,
    middle,
    open_picture,
    seen_in,
    shrunk,
)

SIDE = 48
lengths = st.integers(1, 2000)


@st.composite
def boxes_in_pictures(draw: st.DrawFn) -> tuple[Box, int, int]:
    width, height = draw(lengths), draw(lengths)
    left, top = draw(st.integers(0, width - 1)), draw(st.integers(0, height - 1))
    right = draw(st.integers(left + 1, width))
    bottom = draw(st.integers(top + 1, height))
    return Box(left, top, right, bottom), width, height


@given(boxes_in_pictures())
def test_the_box_is_inside_the_square_and_the_crop_inside_the_picture(
    found: tuple[Box, int, int],
) -> None:
    box, width, height = found
    crop = around(box, width=width, height=height)
    seen = seen_in(box, crop, side=SIDE)

    assert is_inside(crop, width=width, height=height)
    rounded = np.asarray(seen, dtype=np.float32).tolist()  # as boxes are kept
    assert is_inside(Box(*rounded), width=SIDE, height=SIDE)
    # the sign is most of what is seen: an eighth of it at most is on each side
    assert seen.right - seen.left >= SIDE / 1.25 - 1e-6
    assert seen.bottom - seen.top >= SIDE / 1.25 - 1e-6


def test_what_is_in_the_box_of_the_file_is_in_the_box_of_the_square(
    tmp_path: Path,
) -> None:
    draw(tmp_path / "sign.ppm")
    picture = open_picture(tmp_path / "sign.ppm")
    crop = around(Box(*BOX), width=40, height=30)

    seen, square = seen_in(Box(*BOX), crop, side=SIDE), shrunk(picture, crop, side=SIDE)
    left, top, right, bottom = (round(edge) for edge in seen)

    assert square.shape == (3, SIDE, SIDE)
    assert square[:, top + 2 : bottom - 2, left + 2 : right - 2].min() == 255
    outside = square.copy()
    outside[:, top - 2 : bottom + 2, left - 2 : right + 2] = 0
    assert outside.max() == 0


def test_without_a_box_the_middle_is_seen() -> None:
    assert middle(width=40, height=30) == Box(5, 0, 35, 30)
    assert middle(width=30, height=41) == Box(0, 5, 30, 35)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("text.ppm", b"a picture, believe me"),
        ("empty.jpg", b""),
        ("short.ppm", b"P6 40 30 255\n" + bytes(100)),
        ("wrong.ppm", b"P6 forty 30 255\n"),
    ],
)
def test_what_does_not_decode_is_refused_by_name(
    name: str, content: bytes, tmp_path: Path
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(LocalError, match=rf"{name}.*expected a picture"):
        open_picture(tmp_path / name)


def test_a_jpeg_that_was_cut_off_is_refused(tmp_path: Path) -> None:
    draw(tmp_path / "whole.jpg")
    whole = (tmp_path / "whole.jpg").read_bytes()
    (tmp_path / "half.jpg").write_bytes(whole[: len(whole) // 2])

    with pytest.raises(LocalError, match=r"half\.jpg"):
        open_picture(tmp_path / "half.jpg")


def test_a_format_that_no_data_set_uses_is_refused(tmp_path: Path) -> None:
    Image.new("RGB", (4, 4)).save(tmp_path / "a.gif")
    with pytest.raises(LocalError, match="one of JPEG, PNG, PPM"):
        open_picture(tmp_path / "a.gif")


@pytest.mark.parametrize("side", [8193, 10_000, 30_000])
def test_a_picture_of_too_many_pixels_is_not_unpacked(
    side: int, tmp_path: Path
) -> None:
    (tmp_path / "bomb.ppm").write_bytes(f"P6 {side} {side} 255\n".encode())

    with pytest.raises(LocalError, match=r"bomb\.ppm.*(too large|exceeds limit)"):
        open_picture(tmp_path / "bomb.ppm")


def test_grey_and_transparent_pictures_become_red_green_and_blue(
    tmp_path: Path,
) -> None:
    Image.new("L", (4, 4), 7).save(tmp_path / "grey.png")
    Image.new("RGBA", (4, 4), (1, 2, 3, 0)).save(tmp_path / "clear.png")

    grey = decoding.pixels(open_picture(tmp_path / "grey.png"))
    clear = decoding.pixels(open_picture(tmp_path / "clear.png"))

    assert grey.shape == (3, 4, 4)
    assert clear[:, 0, 0].tolist() == [1, 2, 3]


@given(
    st.sampled_from(
        [b"", b"P6 ", b"P6 2 2 255\n", b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n"]
    ),
    st.binary(max_size=300),
)
def test_any_bytes_are_a_picture_or_refused(start: bytes, data: bytes) -> None:
    with TemporaryDirectory() as folder:
        path = Path(folder, "any.ppm")
        path.write_bytes(start + data)
        with suppress(LocalError):
            assert open_picture(path).mode == "RGB"
