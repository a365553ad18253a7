"""``zoo diff``: what changed between two models, in weights and in behaviour."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from model_zoo.canonical import JsonObject
from model_zoo.cli.options import refuse_options
from model_zoo.cli.output import emit, say
from model_zoo.digests import sha256_bytes
from model_zoo.errors import InvalidSpecError
from model_zoo.formats.safetensors import state_dict
from model_zoo.statements.folder import BUNDLE_NAME, require_unused
from model_zoo.statements.scan import SUSPICIOUS
from trainer.cli.convert import weights_in
from trainer.cli.evaluate import SPEC_NAME, spec_beside
from trainer.cli.subject import (
    CleanData,
    DataSet,
    Device,
    Network,
    Subject,
    clean_images,
)
from trainer.files import read_bytes

if TYPE_CHECKING:
    import torch

    from trainer.data import LabelledImages
    from trainer.defenses.comparison import WeightsComparison
    from trainer.defenses.disagreement import BehaviourComparison, Shown
    from trainer.defenses.updates.judgement import Judgement

Old = Annotated[
    Path,
    typer.Argument(help="The parent, base or last trusted weights; or their folder."),
]
New = Annotated[Path, typer.Argument(help="What was made of them.")]
SpecFile = Annotated[
    Path | None,
    typer.Option(
        "--spec", help="What NEW was made by (JSON); else as found beside it."
    ),
]
HeldOut = Annotated[
    int | None, typer.Option(min=1, help="Clean images: the last N training images.")
]
Out = Annotated[
    Path | None, typer.Option(help="Folder that gets diff.html and diff.json.")
]


def register(app: typer.Typer) -> None:
    """Add the command to ``app``."""
    app.command("diff")(diff)


def diff(
    context: typer.Context,
    old: Old,
    new: New,
    *,
    spec: SpecFile = None,
    network: Network = "",
    dataset: DataSet = "",
    held_out: HeldOut = None,
    data: CleanData = None,
    device: Device = "auto",
    out: Out = None,
) -> None:
    """Say what changed from OLD to NEW: in weights and, of a known network, in answers.

    With clean images and a calibration for its architecture and data set it says, too,
    whether such an update is suspicious: exit code 1. Otherwise it informs: code 0.
    """
    if out is not None:
        require_unused(out)
    paths = {"old": weights_in(old), "new": weights_in(new)}
    known = _known(paths["new"].parent, spec=spec, network=network, dataset=dataset)
    where = _device(known, device)
    images = _images(context, known, held_out=held_out, data=data)
    files = {name: read_bytes(path) for name, path in paths.items()}
    weights = _weights(files)
    behaviour, shown, judgement = _behaviour(files, known, images, device=where)
    say(f"verdict: {judgement.verdict}: {judgement.why}")
    document = {
        name: {"model": str(path), "sha256": sha256_bytes(files[name])}
        for name, path in paths.items()
    }
    document |= _differences(known, weights, behaviour) | judgement.to_object()
    if out is not None:
        from trainer.defenses.comparison_report import write_comparison

        page = write_comparison(document, weights, behaviour, shown, folder=out)
        say(f"{page}: the whole comparison")
    emit(document)
    # not by an error: that would print a second document
    raise typer.Exit(int(judgement.verdict == SUSPICIOUS))


def _device(known: Subject | None, device: str) -> "torch.device":
    """Return where networks run, if there are any; on a CPU with one thread."""
    import torch

    from trainer.training.devices import choose_device

    torch.set_num_threads(1)  # as workers do
    return choose_device(device) if known else torch.device("cpu")


def _weights(files: dict[str, bytes]) -> "WeightsComparison":
    """Return what changed in the weights, and tell it."""
    from trainer.defenses.comparison import compare_weights

    found = compare_weights(*(state_dict(it) for it in files.values()))
    _say_weights(found)
    return found


def _differences(
    known: "Subject | None",
    weights: "WeightsComparison",
    behaviour: "BehaviourComparison | None",
) -> JsonObject:
    """Return what is told of the two, but for the files and the verdict."""
    return {
        "network": None if known is None else known.network,
        "identical": weights.identical,
        "weights": weights.to_object(),
        "behaviour": None if behaviour is None else behaviour.to_object(),
    }


def _known(
    folder: Path, *, spec: Path | None, network: str, dataset: str
) -> Subject | None:
    """Return what options or files say of a model; None where they say nothing.

    Raises:
        InvalidSpecError: the options say it twice.
    """
    if network and not dataset and spec is None:
        return Subject(network)
    said = bool(network or dataset or spec is not None)
    if not said and not any((folder / it).exists() for it in (SPEC_NAME, BUNDLE_NAME)):
        return None
    made_by = spec_beside(folder, spec=spec, network=network, dataset=dataset)
    return Subject(made_by.network, made_by.dataset, made_by.classes)


def _images(
    context: typer.Context,
    known: Subject | None,
    *,
    held_out: int | None,
    data: Path | None,
) -> "LabelledImages | None":
    """Return the clean images to compare answers on, if any were named.

    Raises:
        InvalidSpecError: they are named twice, or nothing says of which data set.
    """
    if known is None:
        why = "nothing says which network this is: give --network, or --spec"
        refuse_options(context, "dataset", "held_out", "data", "device", why=why)
        return None
    if held_out is None:
        refuse_options(context, "dataset", why="give --held-out, too")
    if data is not None:
        refuse_options(context, "held_out", why="--data says which images")
        return clean_images(known, data=data, held_out=0)
    if held_out is None:
        return None
    if not known.dataset:
        msg = "--held-out: nothing says of which data set: give --dataset, or --spec"
        raise InvalidSpecError(msg)
    return clean_images(known, data=None, held_out=held_out)


def _behaviour(
    files: dict[str, bytes],
    known: Subject | None,
    images: "LabelledImages | None",
    *,
    device: "torch.device",
) -> "tuple[BehaviourComparison | None, Shown | None, Judgement]":
    """Return where a known network answers differently, and the verdict on that."""
    from trainer.defenses.disagreement import compare_behaviour
    from trainer.defenses.scanners.calibration import calibrations
    from trainer.defenses.updates import judgement
    from trainer.networks.checkpoints import from_bytes

    if known is None:
        return None, None, judgement.not_calibrated("nothing says which network it is")

    old, new = (from_bytes(it, network=known.network) for it in files.values())
    found, shown = compare_behaviour(old, new, data=images, device=device)
    _say_behaviour(found)
    calibration = calibrations("trainer.defenses.updates").get(
        (known.network, known.dataset)
    )
    verdict = judgement.judged(
        old, new, images=images, behaviour=found, calibration=calibration
    )
    return found, shown, verdict


def _say_weights(found: "WeightsComparison") -> None:
    changed = [it for it in found.tensors if not it.identical]
    say(f"weights: {len(changed)} of {len(found.tensors)} tensors changed")
    for it in changed:
        relative = "" if it.relative_norm is None else f" {it.relative_norm:.2%} of it,"
        rank = "" if it.stable_rank is None else f" stable rank {it.stable_rank:.1f},"
        say(f"  {it.name}:{relative}{rank} {it.rows_changed:.0%} of its rows")
    for what in ("missing", "superfluous"):
        if names := getattr(found, what):
            say(f"  {what}: {', '.join(names)}")
    for reshaped in found.reshaped:
        say(f"  {reshaped.name}: {list(reshaped.old)} is now {list(reshaped.new)}")


def _say_behaviour(found: "BehaviourComparison") -> None:
    if found.data is not None:
        say(f"the same label on the images given: {found.data.agreed}")
    say(f"the same label on random images: {found.noise.agreed}")
    for it in found.perturbed:
        turned = "no image to judge by" if it.turned is None else it.turned
        say(f"one perturbation of {it.bound:.0%} turns NEW and not OLD: {turned}")
