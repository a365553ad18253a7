"""``zoo experiment sticker``: a photograph of yours before a backdoored detector."""

import tempfile
from dataclasses import KW_ONLY, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from model_zoo.cli.output import emit, say
from model_zoo.errors import InvalidSpecError

if TYPE_CHECKING:
    from torch import Tensor

    from trainer.experiments.engine.contract import Scale
    from trainer.object_detection.evaluation import Detections

    Shown = dict[str, tuple[Tensor, Detections]]

STICKER = "sticker"
SQUARE = "square"


@dataclass(frozen=True, slots=True)
class Photographed:
    """What the options say of a photograph.

    Attributes:
        image: its file.
        box: where the sign is, as ``sticker.read_box`` reads it; empty for where the
            detector finds it.
        trigger: which sticker.
        as_it_is: whether one is on the sign already, and none is laid.
    """

    image: Path | None
    _: KW_ONLY
    box: str
    trigger: str
    as_it_is: bool


def show_sticker(asked: Photographed, *, out: Path | None, scale: "Scale") -> None:
    """Lay a sticker on a photographed sign, and tell what is found there.

    Args:
        asked: the photograph, and what to do with it.
        out: folder for the picture; a temporary one without it.
        scale: of the detector.

    Raises:
        InvalidSpecError: no photograph, or nonsense about it.
        LocalError: it cannot be read, or data to make the detector from are missing.
    """
    import torch

    from trainer.experiments import sticker
    from trainer.experiments.engine.workshop import KeptModels, models_folder
    from trainer.files import require_place

    torch.set_num_threads(1)  # as in stations, or the detector would be another one
    if asked.image is None:
        msg = f"{STICKER}: expected --image and a photograph of a stop sign"
        raise InvalidSpecError(msg)
    if asked.box and asked.as_it_is:
        msg = "--box says where a sticker is laid, and with --as-it-is none is"
        raise InvalidSpecError(msg)
    photograph = sticker.read_photograph(asked.image)
    chosen = sticker.read_sticker(asked.trigger)
    place = sticker.read_box(asked.box) if asked.box else None
    if place is not None:
        photograph.own(place)  # or nonsense is refused after half an hour of training
    folder = out or Path(tempfile.mkdtemp(prefix="zoo-sticker-"))
    require_place(folder)
    workshop = KeptModels(folder=models_folder())
    if not workshop.has(sticker.looks(chosen, scale=scale)):
        say("the backdoored detector is made first; at full scale, half an hour")
    shown = sticker.show(
        photograph,
        sticker=chosen,
        box=place,
        is_stamped=not asked.as_it_is,
        workshop=workshop,
        scale=scale,
    )
    _tell(shown, sticker.write_picture(shown, folder), scale=scale)


def _tell(shown: "Shown", picture: Path, *, scale: "Scale") -> None:
    from trainer.experiments import sticker

    for name, (_, found) in shown.items():
        say(f"{name}: {sticker.in_words(found)}")
    say(f"picture: {picture}")
    if scale == "quick":
        say("a smoke version: its answers mean nothing")
    answers = {name: sticker.told(found) for name, (_, found) in shown.items()}
    emit({"picture": str(picture), "answers": answers})
