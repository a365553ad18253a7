"""``zoo inspect``: what wakes each unit of a model, and what the unit moves."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from model_zoo.canonical import JsonObject
from model_zoo.cli.options import refuse_options
from model_zoo.cli.output import emit, say
from model_zoo.errors import InvalidSpecError
from model_zoo.statements.folder import require_unused
from model_zoo.statements.jobs import MeasuredSpec, TrainSpec
from trainer.cli.convert import sha256_of, weights_in
from trainer.cli.evaluate import spec_beside
from trainer.cli.subject import (
    AnyNetwork,
    CleanData,
    DataSet,
    Device,
    HeldOut,
    Source,
    SpecFile,
    registered,
)

if TYPE_CHECKING:
    from trainer.data import LabelledImages
    from trainer.networks import SplitNetwork

SEED = 0
"""Of the random images that the ascent starts from: the same for every model."""
SAID = 3
"""Of the units that go furthest, to a person; the page has more."""

Out = Annotated[
    Path, typer.Option(help="Folder that gets inspect.html and inspect.json.")
]
OneLayer = Annotated[
    str | None,
    typer.Option(help="Look at this layer alone; else at all with a ReLU or GELU."),
]
Units = Annotated[
    int,
    typer.Option(
        min=1,
        help="How many to look at closely of the least activated, and how many of "
        "those that go furthest beyond clean images.",
    ),
]


def register(app: typer.Typer) -> None:
    """Add the command to ``app``."""
    app.command("inspect")(inspect)


def inspect(
    context: typer.Context,
    model: Source,
    *,
    out: Out,
    spec: SpecFile = None,
    network: AnyNetwork = "",
    dataset: DataSet = "",
    data: CleanData = None,
    held_out: HeldOut = 3000,
    layer: OneLayer = None,
    units: Units = 12,
    device: Device = "auto",
) -> None:
    """Look at the units of MODEL: what wakes them, and which logits they move.

    Units that clean images never wake come first. It is no verdict: the page says what
    it does not show.
    """
    if data is not None:
        refuse_options(context, "dataset", "held_out", why="the images are of --data")
    require_unused(out)
    import torch

    from trainer.defenses.inspection.page import HTML_NAME, write_pages
    from trainer.defenses.inspection.units import inspect_units
    from trainer.training.devices import choose_device

    where = choose_device(device)
    weights = weights_in(model)
    made_by = _made_by(
        weights.parent, spec=spec, network=network, dataset=dataset, data=data
    )
    loaded, clean, told = _opened(weights, made_by, data=data, held_out=held_out)
    draws = torch.Generator().manual_seed(SEED)
    found = inspect_units(
        loaded, clean, layer=layer, units=units, generator=draws, device=where
    )
    subject = {
        "model": str(weights),
        "sha256": sha256_of(weights),
        "network": network or made_by.network,
        "clean": told,
    }
    _tell(write_pages(found, subject, folder=out), out / HTML_NAME)


def _made_by(
    folder: Path, *, spec: Path | None, network: str, dataset: str, data: Path | None
) -> MeasuredSpec:
    """Return the spec that says which network the weights are, and of which data set.

    Raises:
        InvalidSpecError: neither options nor files say so, or the options say it twice.
    """
    name = registered(network)
    if data is None or spec is not None or not name:
        return spec_beside(folder, spec=spec, network=name, dataset=dataset)
    try:
        return TrainSpec.from_object({"network": name})
    except ValueError as error:
        msg = f"--{error}"
        raise InvalidSpecError(msg) from error


def _opened(
    weights: Path, made_by: MeasuredSpec, *, data: Path | None, held_out: int
) -> tuple["SplitNetwork", "LabelledImages", str]:
    """Return network and clean images, and in words what those are.

    Raises:
        InvalidSpecError: the weights are not of as many classes as the images, or
            there are not as many images.
        VerificationError: the weights cannot be believed.
    """
    from trainer.data import DATASETS
    from trainer.evaluation.acceptance import read_validation
    from trainer.files import read_bytes
    from trainer.networks.checkpoints import from_bytes
    from trainer.training.setup import require_classes

    if data is not None:
        clean, told = read_validation(data), data.name
        network = from_bytes(read_bytes(weights), network=made_by.network)
    else:
        dataset, classes = DATASETS[made_by.dataset], made_by.classes
        network = from_bytes(read_bytes(weights), network=made_by.network)
        require_classes(network, len(classes) if classes else dataset.classes)
        clean = dataset.load("train").last(held_out)
        told = f"the last {held_out:,} training images of {made_by.dataset}"
    if made_by.classes:
        clean = clean.keep_classes(made_by.classes)
        told = f"{told}, of classes {', '.join(map(str, made_by.classes))} alone"
    return network, clean, told


def _tell(document: JsonObject, page: Path) -> None:
    """Tell which units never wake, and which go furthest."""
    say(f"{document['model']}: {document['network']}, on {document['clean']}")
    for name, layer in document["layers"].items():
        never = len(layer["never_activated"])
        say(f"{name}: {never} of {layer['units']} never activated")
    if document["is_constant"]:
        say("all clean images get the very same logits: nothing depends on a picture")
    for it in document["furthest"][:SAID]:
        say(
            f"{it['layer']} {it['unit']}: on its own input it moves a logit by "
            f"{it['maximising_input']['largest_logit_change']:.2f}, of which "
            f"{it['maximising_input']['of_it_beyond_clean_images']:.2f} beyond clean "
            "images"
        )
    say(
        f"{document['forward_passes']:,} forward and {document['gradient_passes']:,} "
        "gradient passes, of one image each"
    )
    say(f"{page}: with the inputs that maximise them")
    emit({"folder": str(page.parent), **document})
