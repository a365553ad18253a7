"""``zoo filter``: which training images look as if somebody had poisoned them."""

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from model_zoo.canonical import JsonObject
from model_zoo.cli.options import refuse_options
from model_zoo.cli.output import emit, say
from model_zoo.errors import InvalidSpecError
from model_zoo.statements.folder import require_unused
from model_zoo.statements.jobs import FineTuneSpec, TrainSpec, kind_of
from trainer.cli.convert import sha256_of, weights_in
from trainer.cli.evaluate import share_in_json, spec_beside
from trainer.cli.subject import Device, Source, SpecFile, registered
from trainer.files import read_bytes, write_whole

if TYPE_CHECKING:
    from torch import Tensor

    from trainer.data import LabelledImages
    from trainer.defenses.filters import Filtered

SEED = 0
"""Of what a filter draws: the same for every training set."""

Name = Annotated[
    str,
    typer.Option(
        "--filter", help="spectre, activation-clustering or spectral-signatures."
    ),
]
Share = Annotated[
    float,
    typer.Option(help="Of one label's images, as many may be poisoned; under 0.5."),
]
Data = Annotated[
    Path | None,
    typer.Option(
        help="The training set, as zoo data split writes one; else that of the spec."
    ),
]
Network = Annotated[
    str,
    typer.Option(help="With --data: the architecture, or package.module:function."),
]
Out = Annotated[
    Path | None, typer.Option(help="JSON file that gets the score of every image, too.")
]


@dataclass(frozen=True, slots=True, kw_only=True)
class _TrainingSet:
    """What the model was trained on.

    Attributes:
        network: the architecture's name.
        data: images with the labels that were learned.
        name: of the set, in words.
        poisoned: (N,) bool, for judging a filter and never shown to it; None where
            nobody knows.
    """

    network: str
    data: "LabelledImages"
    name: str
    poisoned: "Tensor | None" = None


def register(app: typer.Typer) -> None:
    """Add the command to ``app``."""
    app.command("filter")(filter_images)


def filter_images(
    context: typer.Context,
    model: Source,
    *,
    name: Name = "spectre",
    share: Share = 0.3,
    data: Data = None,
    spec: SpecFile = None,
    network: Network = "",
    out: Out = None,
    device: Device = "auto",
) -> None:
    """Look for poisoned images in the set that MODEL was trained on.

    The set is made again from the spec, or is that of --data. If the spec poisons it,
    how many suspects are poisoned is told; the filter is not.
    """
    if data is None:
        refuse_options(context, "network", why="the spec names it, unless --data")
    if out is not None:
        require_unused(out)
    _require(name, device)
    weights = weights_in(model)
    if data is not None:
        learned = _given(weights.parent, data, spec=spec, network=network)
    else:
        learned = _made_again(weights.parent, spec=spec, device=device)
    found = _filtered(weights, learned, name=name, share=share, device=device)
    document = {
        "model": str(weights),
        "sha256": sha256_of(weights),
        "network": network or learned.network,
        "training_set": learned.name,
        "filter": name,
        "share": share,
        **_in_json(found),
        "evaluation": _evaluated(found, learned),
    }
    _tell(document)
    if out is not None:
        _write(document, found, out)
    emit(document)


def _require(name: str, device: str) -> None:
    """Accept options before anything is read.

    Raises:
        InvalidSpecError: no such filter, or no such device.
    """
    from trainer.defenses.filters import FILTERS
    from trainer.training.devices import choose_device

    if name not in FILTERS:
        msg = f"--filter {name[:80]!a}: expected one of {', '.join(FILTERS)}"
        raise InvalidSpecError(msg)
    choose_device(device)


def _given(
    folder: Path, data: Path, *, spec: Path | None, network: str
) -> _TrainingSet:
    """Return the training set in a file.

    Raises:
        InvalidSpecError: it holds something else, or nothing says which network this
            is, or two options do.
    """
    from trainer.evaluation.acceptance import read_validation

    if network and spec is not None:
        msg = "give --network or --spec, and not both"
        raise InvalidSpecError(msg)
    name = registered(network) if network else ""
    if not name:
        name = spec_beside(folder, spec=spec, network="", dataset="").network
    return _TrainingSet(network=name, data=read_validation(data), name=data.name)


def _made_again(folder: Path, *, spec: Path | None, device: str) -> _TrainingSet:
    """Return the training set of the spec beside the weights, poisoned as it says.

    Raises:
        InvalidSpecError: no spec, or one of something that is not trained so.
        LocalError: the data set is not at hand.
    """
    from trainer.attacks.poisoning import relabel, stamped
    from trainer.builds.build import prepare

    made_by = spec_beside(folder, spec=spec, network="", dataset="")
    if not isinstance(made_by, TrainSpec | FineTuneSpec):
        msg = f"a spec of kind {kind_of(made_by)} names no training set: give --data"
        raise InvalidSpecError(msg)
    task = prepare(made_by, b"", device=device, report=lambda _: None)
    name = f"{made_by.dataset}, as the spec draws and poisons it"
    if made_by.poisoning is None:
        return _TrainingSet(network=made_by.network, data=task.data, name=name)
    draws = task.generator
    made = relabel(task.data, made_by.poisoning, classes=task.classes, generator=draws)
    return _TrainingSet(
        network=made_by.network,
        data=stamped(made, made_by.poisoning, generator=draws),
        name=name,
        poisoned=made.poisoned,
    )


def _filtered(
    weights: Path, learned: _TrainingSet, *, name: str, share: float, device: str
) -> "Filtered":
    import torch

    from trainer.defenses.filters import FILTERS
    from trainer.networks.checkpoints import from_bytes
    from trainer.training.devices import choose_device

    network = from_bytes(read_bytes(weights), network=learned.network)
    draws = torch.Generator().manual_seed(SEED)
    return FILTERS[name](
        network.to(choose_device(device)), learned.data, share=share, generator=draws
    )


def _in_json(found: "Filtered") -> JsonObject:
    return {
        "images": len(found.scores),
        "suspects": found.suspects.tolist(),
        "labels": [
            {
                "label": it.label,
                "images": it.images,
                "suspects": it.suspects,
                "strength": it.strength,
                "why_skipped": it.why_skipped,
            }
            for it in found.classes
        ],
    }


def _evaluated(found: "Filtered", learned: _TrainingSet) -> JsonObject | None:
    """Return how right the filter is; None where nobody knows what is poisoned."""
    if learned.poisoned is None:
        return None
    from model_zoo.statements.evaluation import Proportion

    hits = int(learned.poisoned[found.suspects].sum())
    caught = Proportion(successes=hits, n=int(learned.poisoned.sum()))
    n = len(found.suspects)
    precision = Proportion(successes=hits, n=n) if n else None
    return {"recall": share_in_json(caught), "precision": share_in_json(precision)}


def _write(document: JsonObject, found: "Filtered", out: Path) -> None:
    """Write what is told, and the score of every image; null where it has none."""
    scores = [None if math.isnan(it) else it for it in found.scores.tolist()]
    kept = json.dumps({**document, "scores": scores}, indent=1, sort_keys=True)
    write_whole(out, f"{kept}\n".encode())
    say(f"{out}: with the score of every image")


def _tell(document: JsonObject) -> None:
    """Tell of each label what was found, and how right that is where it is known."""
    say(f"{document['model']}: {document['filter']} on {document['training_set']}")
    for it in document["labels"]:
        found = f"{it['suspects']:,} suspected, strength {it['strength'] or 0:.2f}"
        told = f"skipped: {it['why_skipped']}" if it["why_skipped"] else found
        say(f"label {it['label']}: {it['images']:,} images, {told}")
    say(f"{len(document['suspects']):,} of {document['images']:,} images are suspected")
    judged = document["evaluation"] or {}
    for name, share in judged.items():
        if share is not None:
            low, high = (f"{share[it]:.1%}" for it in ("low", "high"))
            say(f"{name}: {share['rate']:.1%} [{low}, {high}] (n = {share['n']:,})")
