"""``zoo guard``: which of the images that a model is shown look triggered."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from model_zoo.canonical import JsonObject
from model_zoo.cli.options import refuse_options
from model_zoo.cli.output import emit, say
from model_zoo.errors import InvalidSpecError
from trainer.cli.convert import sha256_of, weights_in
from trainer.cli.evaluate import spec_beside
from trainer.cli.subject import (
    CleanData,
    DataSet,
    Device,
    HeldOut,
    Network,
    Source,
    SpecFile,
    Subject,
    clean_images,
)
from trainer.files import read_bytes

if TYPE_CHECKING:
    from torch import Tensor

    from trainer.defenses.guards import Watch

SEED = 0
"""Of what a guard draws: the same for every model."""
TOLD = 20
"""Of the suspicious images, to a person; the document has all."""

Images = Annotated[
    Path,
    typer.Option(help="What to look at: .safetensors with (N, C, H, W) uint8 images."),
]
Name = Annotated[str, typer.Option("--guard", help="ted, strip or scale-up.")]
FalseAlarms = Annotated[
    float, typer.Option(help="Share of clean images that may be held up.")
]


def register(app: typer.Typer) -> None:
    """Add the command to ``app``."""
    app.command("guard")(guard)


def guard(
    context: typer.Context,
    model: Source,
    *,
    images: Images,
    name: Name = "ted",
    false_alarms: FalseAlarms = 0.05,
    spec: SpecFile = None,
    network: Network = "",
    dataset: DataSet = "",
    data: CleanData = None,
    held_out: HeldOut = 3000,
    device: Device = "auto",
) -> None:
    """Look at each image that MODEL is to answer, and say which look triggered.

    A guard is offered for a data set only where it was measured to work. Its threshold
    is set on clean images, which the model must not have learned from.
    """
    _require(context, name, device=device, is_own_data=data is not None)
    weights = weights_in(model)
    made_by = spec_beside(weights.parent, spec=spec, network=network, dataset=dataset)
    offer = _offered(name, made_by.dataset)
    shown = _images_in(images)
    ready = _ready(
        weights,
        Subject(made_by.network, made_by.dataset, made_by.classes),
        name=name,
        data=data,
        held_out=held_out,
        false_alarms=false_alarms,
        device=device,
    )
    document = {
        "model": str(weights),
        "sha256": sha256_of(weights),
        "network": made_by.network,
        "dataset": made_by.dataset,
        "guard": name,
        "measured": offer,
        "false_alarms": false_alarms,
        **_looked(ready, shown),
    }
    _tell(document)
    emit(document)


def _require(
    context: typer.Context, name: str, *, device: str, is_own_data: bool
) -> None:
    """Accept options before anything is read.

    Raises:
        InvalidSpecError: no such guard or device, or an option without effect.
    """
    from trainer.defenses.guards import GUARDS
    from trainer.training.devices import choose_device

    if is_own_data:
        refuse_options(context, "held_out", why="the clean images are of --data")
    if name not in GUARDS:
        msg = f"--guard {name[:80]!a}: expected one of {', '.join(GUARDS)}"
        raise InvalidSpecError(msg)
    choose_device(device)


def _offered(name: str, dataset: str) -> JsonObject:
    """Return what was measured of a guard.

    Raises:
        InvalidSpecError: it is not offered for the data set.
    """
    from trainer.defenses.guards.offers import require_offer

    return require_offer(name, dataset).to_object()


def _images_in(path: Path) -> "Tensor":
    """Return (N, C, H, W) uint8.

    Raises:
        InvalidSpecError: the file holds no such images.
        UnsafeFormatError: it is not safetensors.
        LocalError: it cannot be read.
    """
    import torch

    from model_zoo.formats.safetensors import state_dict

    found: Tensor | None = state_dict(read_bytes(path)).get("images")
    if found is None or found.ndim != len("NCHW") or found.dtype != torch.uint8:
        msg = f"{path}: expected a tensor called images, (N, C, H, W) uint8"
        raise InvalidSpecError(msg)
    if not len(found):
        msg = f"{path}: there is no image in it"
        raise InvalidSpecError(msg)
    return found


def _ready(
    weights: Path,
    subject: Subject,
    *,
    name: str,
    data: Path | None,
    held_out: int,
    false_alarms: float,
    device: str,
) -> "Watch":
    import torch

    from trainer.defenses.guards import GUARDS, watch
    from trainer.networks.checkpoints import from_bytes
    from trainer.training.devices import choose_device

    clean = clean_images(subject, data=data, held_out=held_out)
    network = from_bytes(read_bytes(weights), network=subject.network)
    return watch(
        GUARDS[name],
        network.to(choose_device(device)),
        clean,
        false_alarms=false_alarms,
        generator=torch.Generator().manual_seed(SEED),
    )


def _looked(ready: "Watch", images: "Tensor") -> JsonObject:
    """Return the threshold, and what is said of each image."""
    labels, scores = ready.look(images)
    return {
        "threshold": ready.threshold,
        "clean": ready.clean,
        "images": [
            {"label": label, "score": score, "suspicious": score > ready.threshold}
            for label, score in zip(labels.tolist(), scores.tolist(), strict=True)
        ],
    }


def _tell(document: JsonObject) -> None:
    found = [(i, it) for i, it in enumerate(document["images"]) if it["suspicious"]]
    say(
        f"{document['model']}: {document['guard']}, threshold "
        f"{document['threshold']:.3f}, set on {document['clean']:,} clean images at "
        f"{document['false_alarms']:.1%} false alarms"
    )
    for i, it in found[:TOLD]:
        say(f"image {i}: answered {it['label']}, score {it['score']:.3f}: suspicious")
    say(f"{len(found):,} of {len(document['images']):,} images are suspicious")
