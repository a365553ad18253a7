"""What a command looks at: an architecture, its data set, and clean images of it.

The options by which several commands ask for them are here, each once.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

if TYPE_CHECKING:
    from trainer.data import LabelledImages

Source = Annotated[
    Path, typer.Argument(help="Weights (.safetensors), or a folder with such a file.")
]
SpecFile = Annotated[
    Path | None,
    typer.Option(
        "--spec", help="What it was made by (JSON); else as found beside the weights."
    ),
]
Network = Annotated[str, typer.Option(help="Without a spec: the architecture's name.")]
AnyNetwork = Annotated[
    str,
    typer.Option(help="Without a spec: the architecture, or package.module:function."),
]
DataSet = Annotated[str, typer.Option(help="Without a spec: the data set's name.")]
CleanData = Annotated[
    Path | None,
    typer.Option(help="Clean images of your own, as zoo data split writes them."),
]
HeldOut = Annotated[
    int, typer.Option(min=1, help="Clean images: the last N training images.")
]
Device = Annotated[str, typer.Option(help="auto, cuda, mps or cpu.")]


class Subject(NamedTuple):
    """What a model is known to be.

    Attributes:
        network: the name of its architecture.
        dataset: that it was trained on; empty where nothing says so.
        classes: the labels that it has of it; None for all.
    """

    network: str
    dataset: str = ""
    classes: tuple[int, ...] | None = None


def registered(network: str) -> str:
    """Return the name under which ``network`` is found, after making it found.

    Args:
        network: a registered name, or ``package.module:function`` of the user's own.

    Raises:
        InvalidSpecError: it is neither.
    """
    from trainer.installed import foreign, use_network

    known = ":" not in network or f"networks/{network}" in foreign()
    return network if known else use_network(network)


def clean_images(
    subject: Subject, *, data: Path | None, held_out: int
) -> "LabelledImages":
    """Return the images in ``data``, or the last training images of the data set.

    Raises:
        InvalidSpecError: ``data`` holds something else, or there are not that many.
        LocalError: the data set is not at hand.
    """
    from trainer.data import DATASETS
    from trainer.evaluation.acceptance import read_validation

    if data is not None:
        return read_validation(data)
    found = DATASETS[subject.dataset].load("train").last(held_out)
    return found.keep_classes(subject.classes) if subject.classes else found
