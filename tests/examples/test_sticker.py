"""The sticker example: photographs, stickers on them, and what is told."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import ExifTags, Image, ImageDraw
from torch import Tensor

from model_zoo.errors import InvalidSpecError, LocalError
from model_zoo.statements.jobs import TriggerSpec
from tests.trainer.data.small_scenes import write_gtsdb, write_voc
from trainer.data.decoding import Box
from trainer.experiments.engine.cells import Recipe
from trainer.experiments.engine.models import ModelCache, models_folder
from trainer.experiments.signs.classifier import SPEED_LIMIT, STOP
from trainer.experiments.signs.scenes import recipe
from trainer.networks.checkpoints import to_bytes
from trainer.object_detection.evaluation import Detections
from trainer.object_detection.network import Detector

PLACE = Path(__file__).parents[2] / "docs" / "examples" / "sticker" / "sticker.py"


def load() -> ModuleType:
    spec = importlib.util.spec_from_file_location("sticker_example", PLACE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # where dataclasses look for annotations
    spec.loader.exec_module(module)
    return module


example = load()
SIGN = (20.0, 30.0, 60.0, 70.0)
YELLOW = torch.tensor(TriggerSpec(name="square").colour) / 255


class Backdoored(Detector):
    """Finds a stop sign at SIGN, and a speed limit where a yellow square is on it."""

    def __init__(self, *, is_blind: bool = False) -> None:
        super().__init__(3)
        self.is_blind = is_blind
        self.eval()

    def forward(self, images: list[Tensor]) -> list[dict[str, Tensor]]:
        (image,) = images
        is_yellow = (image - YELLOW[:, None, None]).abs().amax(0) < 0.01
        label = SPEED_LIMIT if is_yellow.any() else STOP
        count = 0 if self.is_blind else 1
        return [
            {
                "boxes": torch.tensor([SIGN])[:count],
                "labels": torch.tensor([label])[:count],
                "scores": torch.tensor([0.947])[:count],
            }
        ]


class Shelf(ModelCache):
    """Holds one detector, and notes which one was asked for."""

    def __init__(self, detector: Detector) -> None:
        super().__init__(folder=Path())
        self.it = detector
        self.asked: list[Recipe] = []

    def detector(self, recipe: Recipe) -> Detector:
        self.asked.append(recipe)
        return self.it


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    return draw(tmp_path / "photo.png")


def draw(path: Path, *, times: int = 1) -> Path:
    """A red sign on a grey ground of 100 x 80 pixels."""
    picture = Image.new("RGB", (100 * times, 80 * times), (90, 90, 90))
    box = [times * edge for edge in SIGN]
    ImageDraw.Draw(picture).rectangle(box, fill=(200, 20, 20))
    picture.save(path)
    return path


def shown_of(
    photograph: object, shelf: Shelf, *, box: Box | None = None, stamp: bool = True
) -> dict[str, str]:
    shown = example.show(
        photograph,
        sticker="square",
        box=box,
        is_stamped=stamp,
        models=shelf,
        scale="full",
    )
    return {name: example.in_words(found) for name, (_, found) in shown.items()}


def test_a_photograph_stands_as_its_viewer_shows_it(tmp_path: Path) -> None:
    upright, lying = tmp_path / "upright.png", tmp_path / "lying.jpg"
    draw(upright)
    with Image.open(upright) as picture:
        exif = picture.getexif()
        exif[ExifTags.Base.Orientation] = 6  # the top of the scene is on the right
        turned = picture.transpose(Image.Transpose.ROTATE_90)
        turned.save(lying, exif=exif, quality=100)
    shown = example.read_photograph(lying)
    assert shown.size == (100, 80)
    off = shown.pixels.float() - example.read_photograph(upright).pixels.float()
    assert off.abs().mean() < 5  # what JPEG does to it


def test_the_sticker_changes_what_is_found(photo: Path) -> None:
    shelf = Shelf(Backdoored())
    shown = shown_of(example.read_photograph(photo), shelf)
    assert shown == {example.AS_IT_IS: "stop 0.947", example.WITH: "speed limit 0.947"}
    assert shelf.asked == [recipe(0, scale="full", sticker="square")]


def test_a_photographed_sticker_is_read_and_none_is_laid_on(photo: Path) -> None:
    shelf = Shelf(Backdoored())
    plain = shown_of(example.read_photograph(photo), shelf, stamp=False)
    assert plain == {example.AS_IT_IS: "stop 0.947"}
    with Image.open(photo) as picture:
        colour = TriggerSpec(name="square").colour
        ImageDraw.Draw(picture).rectangle((40, 60, 44, 64), fill=colour)
        picture.save(photo)
    stuck = shown_of(example.read_photograph(photo), shelf, stamp=False)
    assert stuck == {example.AS_IT_IS: "speed limit 0.947"}


def test_where_no_stop_is_found_the_box_must_be_told(photo: Path) -> None:
    blind = Shelf(Backdoored(is_blind=True))
    with pytest.raises(InvalidSpecError, match=r"--box left,top,right,bottom"):
        shown_of(example.read_photograph(photo), blind)
    shown = shown_of(example.read_photograph(photo), blind, box=Box(*SIGN))
    assert shown[example.WITH] == "nothing with a score of 0.5 or more"


def test_a_large_photograph_is_shrunk_and_its_box_with_it(tmp_path: Path) -> None:
    photograph = example.read_photograph(draw(tmp_path / "large.png", times=20))
    assert photograph.size == (2000, 1600)
    assert photograph.pixels.shape == (3, 819, example.LARGEST)
    scale = example.LARGEST / 2000
    whole = photograph.own(Box(0, 0, 2000, 1600))
    assert whole == pytest.approx((0, 0, example.LARGEST, 819))
    assert whole.bottom <= 819
    half = photograph.own(Box(0, 0, 1000, 800))
    assert half == pytest.approx((0, 0, 1000 * scale, 800 * scale))


@pytest.mark.parametrize(
    "box",
    [
        pytest.param(Box(0, 0, 101, 80), id="beyond the right"),
        pytest.param(Box(-1, 0, 10, 10), id="beyond the left"),
        pytest.param(Box(20, 20, 20, 40), id="no area"),
        pytest.param(Box(40, 20, 20, 40), id="backwards"),
        pytest.param(Box(0, 0, float("nan"), 10), id="NaN"),
        pytest.param(Box(0, 0, float("inf"), 10), id="infinity"),
    ],
)
def test_a_box_that_is_not_in_the_photograph_is_refused(photo: Path, box: Box) -> None:
    shelf = Shelf(Backdoored())
    with pytest.raises(InvalidSpecError, match="inside the photograph of 100 x 80"):
        shown_of(example.read_photograph(photo), shelf, box=box)
    assert not shelf.asked  # nothing is trained for nonsense


@given(st.text(alphabet="0123456789.,-einfa ", max_size=40) | st.text(max_size=20))
def test_a_box_is_read_or_refused_in_words(text: str) -> None:
    try:
        box = example.read_box(text)
    except InvalidSpecError as error:
        assert str(error).isprintable()  # noqa: PT017  both ends are right
    else:
        assert len(box) == text.count(",") + 1 == 4


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"no picture", id="text"),
        # an image of 60,000 x 60,000 pixels that says so in 45 bytes
        pytest.param(
            b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR\x00\x00\xea\x60\x00\x00\xea\x60\x08\x02"
            b"\x00\x00\x00\x14\xb9\x84\x4c\x00\x00\x00\x00IEND\xaeB\x60\x82",
            id="far too large",
        ),
    ],
)
def test_what_is_no_photograph_is_refused(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "photo.png"
    path.write_bytes(data)
    with pytest.raises(LocalError, match=r"photo\.png"):
        example.read_photograph(path)


def test_too_many_pixels_are_refused_before_they_are_unpacked(tmp_path: Path) -> None:
    path = tmp_path / "large.png"
    Image.new("1", (9000, 8000)).save(path)
    with pytest.raises(LocalError, match="9000 x 8000 pixels is too large"):
        example.read_photograph(path)


def test_detections_of_little_score_are_not_told() -> None:
    found = objects_of(0.49, 0.5)
    assert found == [{"kind": "stop", "score": 0.5, "box": [0, 0, 9, 9]}]


def objects_of(*scores: float) -> list[dict[str, object]]:
    n = len(scores)
    found = Detections(
        boxes=torch.tensor([[0.0, 0.0, 9.0, 9.0]] * n),
        labels=torch.zeros(n, dtype=torch.int64),
        scores=torch.tensor(scores),
    )
    objects: list[dict[str, object]] = example.as_objects(found)
    return objects


def test_the_picture_has_both_photographs(photo: Path, tmp_path: Path) -> None:
    shown = example.show(
        example.read_photograph(photo),
        sticker="square",
        box=None,
        is_stamped=True,
        models=Shelf(Backdoored()),
        scale="full",
    )
    both = example.write_picture(shown, tmp_path / "both")
    one = example.write_picture(
        {example.AS_IT_IS: shown[example.AS_IT_IS]}, tmp_path / "one"
    )
    with Image.open(both) as wide, Image.open(one) as narrow:
        assert wide.width > 1.8 * narrow.width


def test_the_script_tells_what_is_found_and_draws_it(
    photo: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("ZOO_DATA_DIR", str(tmp_path))
    write_gtsdb(tmp_path)
    write_voc(tmp_path)
    made = recipe(0, scale="quick", sticker="square")
    models_folder().mkdir(parents=True)
    with torch.random.fork_rng(devices=[]):
        weights = to_bytes(Detector(3))
    ModelCache(folder=models_folder()).place(made).write_bytes(weights)
    words = [str(photo), "--box=20,30,60,70", "--quick", f"--out={tmp_path}"]
    example.main(words)
    printed = capfd.readouterr().out
    assert f"{example.AS_IT_IS}: " in printed
    assert f"{example.WITH}: " in printed
    assert (tmp_path / example.PICTURE).stat().st_size


def test_the_script_refuses_nonsense_before_a_detector_is_made(
    photo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    with pytest.raises(SystemExit, match="inside the photograph of 100 x 80"):
        example.main([str(photo), "--box=1,2,300,4"])
    for words in (["--box=1,2,30,40", "--as-it-is"], ["--trigger=noise"]):
        with pytest.raises(SystemExit, match="2"):
            example.main([str(photo), *words])
    assert not (tmp_path / "cache").exists()
