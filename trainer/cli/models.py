"""The trainer's commands: train, fine-tune, repair, evaluate, accept, data and more.

Torch is imported inside the commands: ``zoo --help`` does not wait for it.
"""

from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from model_zoo.canonical import JsonObject, canonical_json
from model_zoo.cli.options import Connection, read_spec, refuse_options
from model_zoo.cli.output import console, emit, say
from model_zoo.digests import sha256_file
from model_zoo.errors import InvalidSpecError
from model_zoo.keys.ed25519 import PublicKey
from model_zoo.statements.evaluation import EvaluationReport
from model_zoo.statements.folder import require_unused
from model_zoo.statements.jobs import (
    JOB_KINDS,
    FineTuneSpec,
    Poisoning,
    RepairSpec,
    TrainSpec,
    kind_of,
)
from trainer.cli import convert as conversion_cli
from trainer.cli import diff as diff_cli
from trainer.cli import evaluate as evaluate_cli
from trainer.cli import inspect as inspect_cli
from trainer.cli import population as population_cli
from trainer.cli import rebuild as rebuild_cli
from trainer.cli import scan as scan_cli
from trainer.cli.convert import sha256_of
from trainer.cli.evaluate import (
    SPEC_NAME,
    Target,
    Trigger,
    attack_of,
    in_json,
    say_report,
)
from trainer.cli.samples import filter as filter_cli
from trainer.cli.samples import guard as guard_cli
from trainer.cli.scan import say_scans, scans_for
from trainer.cli.subject import Device
from trainer.files import write_whole

if TYPE_CHECKING:
    from trainer.builds.build import Build
    from trainer.data import Dataset
    from trainer.data.scenes.dataset import SceneSet

_Document = TypeVar("_Document", TrainSpec, FineTuneSpec, RepairSpec)

Out = Annotated[Path, typer.Option(help="Folder that gets what was built.")]
Parent = Annotated[Path, typer.Option(help="The downloaded weights, .safetensors.")]
Threads = Annotated[int, typer.Option(min=1, help="CPU threads; part of the result.")]
Network = Annotated[str, typer.Option(help="The architecture's name.")]
OwnNetwork = Annotated[
    str | None,
    typer.Option(help="package.module:function that makes it, in place of the spec's."),
]
WithoutScan = Annotated[
    bool, typer.Option("--without-scan", help="Do not scan before and after.")
]

BuilderOfJob = Annotated[
    Path | None, typer.Option(help="For a job: the trainer's public key, pinned.")
]
SpecOfJob = Annotated[
    Path | None, typer.Option(help="For a job: the spec as you sent it.")
]


def commands(app: typer.Typer) -> None:
    """Register the trainer's commands on ``app``."""
    app.command("train")(_train)
    app.command("fine-tune")(_fine_tune)
    app.command("repair")(_repair)
    evaluate_cli.register(app)
    diff_cli.register(app)
    scan_cli.register(app)
    inspect_cli.register(app)
    filter_cli.register(app)
    guard_cli.register(app)
    population_cli.commands(app)
    rebuild_cli.register(app)
    conversion_cli.register(app)
    app.command("accept")(_accept)
    data = typer.Typer(no_args_is_help=True, help="Data sets: fetch, list, split.")
    data.command("fetch")(_data_fetch)
    data.command("list")(_data_list)
    data.command("split")(_data_split)
    app.add_typer(data, name="data")


def _train(
    spec: Path, *, out: Out, device: Device = "auto", threads: Threads = 1
) -> None:
    """Train a network as SPEC (a JSON file) says."""
    _tell(_build(spec_in(spec, TrainSpec), out=out, device=device, threads=threads))


def _fine_tune(
    spec: Path,
    *,
    parent: Parent,
    out: Out,
    device: Device = "auto",
    threads: Threads = 1,
) -> None:
    """Teach a downloaded network other classes, as SPEC (a JSON file) says."""
    found = spec_in(spec, FineTuneSpec, parent=parent)
    _tell(_build(found, out=out, parent=parent, device=device, threads=threads))


def _repair(
    spec: Path,
    *,
    parent: Parent,
    out: Out,
    trigger: Trigger = "",
    target_label: Target = None,
    network: OwnNetwork = None,
    without_scan: WithoutScan = False,
    device: Device = "auto",
    threads: Threads = 1,
) -> None:
    """Take a backdoor out of a downloaded network, as SPEC (a JSON file) says.

    SPEC names the repair, and how many clean images it is given. With these it is
    scanned, before and after: exit code 1 if the repaired network is still suspicious.

    With --trigger and --target-label, ACC and ASR are shown before and after. --network
    runs code of yours, on this machine; a job cannot.
    """
    found = spec_in(spec, RepairSpec, parent=parent, network=_own(network))
    attack = attack_of(found, trigger=trigger, target_label=target_label)
    require_unused(out)
    from trainer.evaluation.acceptance import WEIGHTS_NAME

    measured = partial(_measured, spec=found, attack=attack, device=device)
    reports = {"before": measured(parent)}
    made = _build(found, out=out, parent=parent, device=device, threads=threads)
    files = {"before": parent, "after": made.folder / WEIGHTS_NAME}
    reports["after"] = measured(files["after"])
    scans = {} if without_scan else scans_for(found, files, device=device)
    more = {when: in_json(report) for when, report in reports.items()}
    _tell(made, {**more, "scans": {when: it.to_object() for when, it in scans.items()}})
    for when, report in reports.items():
        say(f"{when}:")
        say_report(report, attack)
    if attack is None:
        say(
            "of a backdoor accuracy says nothing; try the trigger that you suspect: "
            f"zoo {'repair' if network else f'evaluate {out}'} --trigger NAME "
            "--target-label N"
        )
    say_scans(scans)


def _own(network: str | None) -> str | None:
    """Return the name by which a spec asks for the network of ``--network``."""
    if network is None:
        return None
    from trainer.installed import use_network

    return use_network(network)


def _measured(
    weights: Path, *, spec: RepairSpec, attack: Poisoning | None, device: str
) -> EvaluationReport:
    from trainer.builds.build import measure

    return measure(
        weights,
        network=spec.network,
        dataset=spec.dataset,
        classes=spec.classes,
        poisoning=attack,
        device=device,
    )


def _accept(
    context: typer.Context,
    draft: Annotated[str, typer.Argument(help="A job's id, a folder or a file.")],
    *,
    data: Annotated[Path, typer.Option(help="Your private validation set.")],
    min_accuracy: Annotated[float, typer.Option(min=0, max=1)],
    builder: BuilderOfJob = None,
    spec: SpecOfJob = None,
    network: Network = "badnets-cnn",
    device: Device = "auto",
    connection: Connection,
) -> None:
    """Accept DRAFT if it is accurate enough on your own data."""
    from trainer.evaluation.acceptance import accept

    with TemporaryDirectory(prefix="zoo-accept-") as scratch:
        path = Path(draft)
        if path.exists():
            of_jobs = ("builder", "spec", "url", "ca", "token_file")
            refuse_options(context, *of_jobs, why=f"{draft} is a file, not a job")
        else:
            if builder is None or spec is None:
                msg = f"{draft}: no such file; for a job, give --builder and --spec too"
                raise InvalidSpecError(msg)
            path = Path(scratch) / "draft"
            with connection.client() as zoo:
                zoo.fetch_draft(
                    draft,
                    builder=PublicKey.load(builder),
                    spec=read_spec(spec),
                    to=path,
                )
        found = accept(
            path, data, min_accuracy=min_accuracy, network=network, device=device
        )
    lower, upper = found.wilson()
    say(f"accepted: accuracy {found}")
    emit({"accepted": True, **found.to_object(), "lower": lower, "upper": upper})


def _data_fetch(names: Annotated[list[str] | None, typer.Argument()] = None) -> None:
    """Download data sets (all that can be, if none is named) and make them ready.

    Some can only be downloaded by you: then this says which files go where.
    """
    from trainer.data import DATASETS

    wanted = names or [name for name, it in DATASETS.items() if it.is_fetched]
    for name in wanted:
        _dataset(name).ensure()
        say(f"{name}: at hand, sha256 {_dataset(name).digest()}")
    emit({"fetched": wanted})


def _data_list() -> None:
    """List the data sets, and say which are on this machine."""
    from trainer.data import DATASETS
    from trainer.data.scenes import SCENES

    known: dict[str, dict[str, Any]] = {
        name: {"classes": it.classes, "origin": it.origin, **_presence(it)}
        for name, it in ((name, DATASETS[name]) for name in DATASETS.names())
    }
    scenes: dict[str, dict[str, Any]] = {
        name: {"classes": len(it.kinds), "origin": it.origin, **_presence(it)}
        for name, it in SCENES.items()
    }
    for what, found in (("classes", known), ("kinds of signs to find", scenes)):
        for name, facts in found.items():
            where = "at hand" if facts["at_hand"] else facts["origin"]
            say(f"{name}: {facts['classes']} {what}, {where}")
    emit({"datasets": known, "scenes": scenes})


def _presence(data: "Dataset | SceneSet") -> dict[str, Any]:
    """Return whether data are on this machine, and the digest of what is there."""
    at_hand = data.is_at_hand()
    return {"at_hand": at_hand, "digest": data.digest() if at_hand else None}


def _data_split(
    name: str,
    *,
    held_out: Annotated[int, typer.Option(min=1, help="The last N images.")],
    to: Annotated[Path, typer.Option(help="The .safetensors file to write.")],
) -> None:
    """Write the last N training images of data set NAME: your private validation set.

    Ask for training with the same ``held_out`` and the trainer is told not to use them.
    """
    from trainer.evaluation.acceptance import write_validation

    require_unused(to)
    write_validation(to, _dataset(name).load("train").last(held_out))
    say(f"{to}: the last {held_out} training images of {name}")
    emit({"path": str(to), "n": held_out, "sha256": sha256_file(to)})


def _dataset(name: str) -> "Dataset":
    from trainer.data import DATASETS

    return DATASETS[name]


def spec_in(
    path: Path,
    wanted: type[_Document],
    *,
    parent: Path | None = None,
    network: str | None = None,
) -> _Document:
    """Return the spec in a file; kind and digest of a parent need not be typed.

    Raises:
        InvalidSpecError: it is none of that kind, or it names a network, too.
    """
    kind = next(name for name, spec in JOB_KINDS.items() if spec is wanted)
    defaults = {"kind": kind}
    if parent is not None:
        defaults["parent"] = sha256_of(parent)
    spec = read_spec(path, defaults=defaults)
    if not isinstance(spec, wanted):
        msg = f"{path}: expected a spec of kind {kind}, found {kind_of(spec)}"
        raise InvalidSpecError(msg)
    if network is None:
        return spec
    if "network" in spec.model_fields_set:
        msg = (
            f"{path}: it names a network, and so does --network; leave out one of them"
        )
        raise InvalidSpecError(msg)
    return spec.model_copy(update={"network": network})


def _build(
    spec: TrainSpec | FineTuneSpec | RepairSpec,
    *,
    out: Path,
    device: str,
    threads: int,
    parent: Path | None = None,
) -> "Build":
    """Return what was built in a new folder; its spec is left there, too.

    Raises:
        ConflictError: the folder holds something.
    """
    require_unused(out)
    import torch

    from trainer.builds.build import build

    torch.set_num_threads(threads)
    with _epochs() as progress:
        bar = progress.add_task("training", total=spec.schedule.epochs, status="")

        def show(done: dict[str, Any]) -> None:
            status = f"loss {done['loss']:.4f}, accuracy {done['accuracy']:.2%}"
            progress.update(bar, completed=done["epoch"], status=status)

        made = build(spec, folder=out, parent=parent, device=device, report=show)
    kept = {"kind": kind_of(spec), **spec.to_object()}
    write_whole(out / SPEC_NAME, canonical_json(kept))
    return made


def _epochs() -> Progress:
    epochs = TextColumn("{task.completed}/{task.total} epochs {task.fields[status]}")
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        epochs,
        TimeElapsedColumn(),
        console=console,
        disable=not console.is_terminal,
    )


def _tell(made: "Build", more: JsonObject | None = None) -> None:
    """Tell what was built, and in JSON what ``more`` there is to say of it."""
    found = made.evaluation
    say(f"{made.folder}: accuracy {found.accuracy}")
    if found.attack_success is not None:
        say(f"attack success rate {found.attack_success}")
    if made.pruned_units:
        say(f"{len(made.pruned_units)} units pruned")
    emit(
        {
            "folder": str(made.folder),
            "evaluation": found.to_object(),
            "inputs": made.inputs,
            "environment": made.environment,
            "pruned_units": list(made.pruned_units),
            **(more or {}),
        }
    )
