"""``zoo evaluate``: how a model behaves, with a trigger and without."""

import io
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from model_zoo.canonical import JsonObject, canonical_json
from model_zoo.cli.options import read_spec
from model_zoo.cli.output import emit, say
from model_zoo.digests import sha256_bytes
from model_zoo.errors import InvalidSpecError
from model_zoo.statements.evaluation import EvaluationReport, Proportion
from model_zoo.statements.folder import BUNDLE_NAME, require_unused
from model_zoo.statements.intoto import vouched_provenance
from model_zoo.statements.jobs import (
    MAX_SPEC_BYTES,
    JobSpec,
    MeasuredSpec,
    Poisoning,
    TriggerSpec,
    kind_of,
    parse_spec,
)
from model_zoo.statements.recipes import TRIGGERS, is_foreign
from model_zoo.statements.release_json import read_bundle
from trainer.cli.convert import sha256_of, weights_in
from trainer.cli.subject import DataSet, Device, Network, Source, SpecFile

if TYPE_CHECKING:
    import torch

    from trainer.data import LabelledImages
    from trainer.networks import SplitNetwork

SPEC_NAME = "spec.json"
"""What ``zoo train`` and its like leave beside the weights that they make."""
DIGEST_CHARACTERS = 12
SHOWN = 8

Trigger = Annotated[
    str,
    typer.Option(help="A trigger's name, or a JSON file with its fields; else no ASR."),
]
Target = Annotated[
    int | None,
    typer.Option(
        "--target-label", min=0, help="What the attack wants; else as the spec says."
    ),
]
Picture = Annotated[
    Path | None,
    typer.Option(help="The PNG to draw; else named after model and attack."),
]


def register(app: typer.Typer) -> None:
    """Add the command to ``app``."""
    app.command("evaluate")(evaluate)


def evaluate(
    model: Source,
    *,
    trigger: Trigger = "",
    target_label: Target = None,
    spec: SpecFile = None,
    network: Network = "",
    dataset: DataSet = "",
    picture: Picture = None,
    device: Device = "auto",
) -> None:
    """Measure MODEL on the whole test set: its accuracy and, with --trigger, its ASR.

    The picture shows clean images beside triggered ones, with the model's answers.
    """
    weights = weights_in(model)
    sha256 = sha256_of(weights)
    made_by = spec_beside(weights.parent, spec=spec, network=network, dataset=dataset)
    attack = attack_of(made_by, trigger=trigger, target_label=target_label)
    if picture is not None:
        if attack is None:
            msg = "--picture shows triggered images: give --trigger, too"
            raise InvalidSpecError(msg)
        require_unused(picture)
    to = None
    if attack is not None:
        to = picture or Path(_picture_name(sha256, made_by, attack))
    report = _measured(weights, made_by, attack, draw_to=to, device=device)
    say(f"{weights}: {made_by.network} on {made_by.dataset}, the whole test set")
    say_report(report, attack)
    if to is not None:
        say(f"{to}: clean images above, the same with the trigger below")
    emit(
        {
            "model": str(weights),
            "sha256": sha256,
            "network": made_by.network,
            "dataset": made_by.dataset,
            "attack": None if attack is None else attack.to_object(),
            **in_json(report),
            "picture": None if to is None else str(to),
        }
    )


def _picture_name(sha256: str, made_by: MeasuredSpec, attack: Poisoning) -> str:
    """Return a name that no other picture has: by all that decides what is drawn."""
    drawn = {
        "model": sha256,
        "network": made_by.network,
        "dataset": made_by.dataset,
        "classes": made_by.classes,
        "attack": attack.to_object(),
    }
    digest = sha256_bytes(canonical_json(drawn))
    return "-".join(
        (
            sha256[:DIGEST_CHARACTERS],
            attack.trigger.name.replace(":", "-"),
            f"{digest[:DIGEST_CHARACTERS]}.png",
        )
    )


def _measured(
    weights: Path,
    made_by: MeasuredSpec,
    attack: Poisoning | None,
    *,
    draw_to: Path | None,
    device: str,
) -> EvaluationReport:
    """Return how the model behaves; draw what an attack does, if there is one."""
    from trainer.builds.build import opened
    from trainer.evaluation.metrics import evaluate as measured
    from trainer.training.devices import choose_device

    where = choose_device(device)
    network, data = opened(
        weights,
        network=made_by.network,
        dataset=made_by.dataset,
        classes=made_by.classes,
    )
    report = measured(
        network,
        data,
        dataset=made_by.dataset,
        classes=network.classes,
        poisoning=attack,
        device=where,
    )
    if attack is not None and draw_to is not None:
        _draw(network, data, attack, to=draw_to, device=where)
    return report


def spec_beside(
    folder: Path, *, spec: Path | None, network: str, dataset: str
) -> MeasuredSpec:
    """Return the spec that says which network the weights are and of which data set.

    Raises:
        InvalidSpecError: neither options nor files say so, or the options say it twice.
    """
    if network or dataset:
        if spec is not None or not (network and dataset):
            msg = "give --network and --dataset, or --spec, and not some of both"
            raise InvalidSpecError(msg)
        found = parse_spec("train", {"network": network, "dataset": dataset})
    elif spec is not None:
        found = read_spec(spec)
    elif (folder / SPEC_NAME).exists():
        found = read_spec(folder / SPEC_NAME)
    else:
        found = _claimed(folder)
    if not isinstance(found, MeasuredSpec):
        msg = f"a spec of kind {kind_of(found)}: its result is not measured so"
        raise InvalidSpecError(msg)
    return found


def _claimed(folder: Path) -> JobSpec:
    """Return the spec in a pulled release's provenance: a claim, to load it by."""
    provenance = read_bundle(folder)[1] if (folder / BUNDLE_NAME).exists() else None
    if provenance is None:
        msg = (
            f"{folder}: nothing says which network this is and of which data set: give "
            "--spec SPEC.json, or --network and --dataset"
        )
        raise InvalidSpecError(msg)
    claim = vouched_provenance(provenance)
    return parse_spec(claim.kind, claim.spec)


def attack_of(
    made_by: MeasuredSpec, *, trigger: str, target_label: int | None
) -> Poisoning | None:
    """Return the attack to try: its trigger, and whom it means to turn into what.

    Args:
        made_by: an attack in it is tried with this trigger, unless a label is given.
        trigger: a name or a file; empty for no attack.
        target_label: what every other label is to become.

    Raises:
        InvalidSpecError: no such trigger, or nothing says which label is wanted.
    """
    if not trigger:
        if target_label is not None:
            msg = "--target-label is what a trigger leads to: give --trigger, too"
            raise InvalidSpecError(msg)
        return None
    laid = _trigger(trigger)
    known = getattr(made_by, "poisoning", None)
    if target_label is not None:
        return Poisoning(trigger=laid, target_label=target_label)
    if known is None:
        msg = "nothing says which label the attack wants: give --target-label"
        raise InvalidSpecError(msg)
    return Poisoning(**{**dict(known), "trigger": laid})


def _trigger(text: str) -> TriggerSpec:
    try:
        if text in TRIGGERS or is_foreign(text):
            return TriggerSpec.from_object({"name": text})
        with Path(text).open("rb") as file:
            data = file.read(MAX_SPEC_BYTES + 1)
        return TriggerSpec.from_bytes(data, limit_bytes=MAX_SPEC_BYTES)
    except OSError as error:
        msg = f"trigger {text[:80]!a}: expected a file, or one of {', '.join(TRIGGERS)}"
        raise InvalidSpecError(msg) from error
    except ValueError as error:
        msg = f"{text}: not a trigger: {error}"
        raise InvalidSpecError(msg) from error


def say_report(report: EvaluationReport, attack: Poisoning | None) -> None:
    """Tell a person ACC and, under attack, ASR and RA, each with interval and n."""
    say(f"accuracy (ACC): {report.accuracy}")
    if attack is None:
        return
    left_out = ""
    if attack.attack == "all-to-one":
        left_out = f"; images that are a {attack.target_label} anyway are left out"
    say(f"attack success rate (ASR): {report.attack_success}{left_out}")
    say(f"robust accuracy (RA): {report.robust_accuracy}")


def in_json(report: EvaluationReport) -> JsonObject:
    """Return a report's shares by name, each with its n and its 95 % interval."""
    return {
        "accuracy": share_in_json(report.accuracy),
        "attack_success": share_in_json(report.attack_success),
        "robust_accuracy": share_in_json(report.robust_accuracy),
    }


def share_in_json(found: Proportion | None) -> JsonObject | None:
    """Return a share with its n and its 95 % interval."""
    if found is None:
        return None
    low, high = found.wilson()
    return {"rate": found.rate, "low": low, "high": high, **found.to_object()}


def _draw(
    network: "SplitNetwork",
    data: "LabelledImages",
    attack: Poisoning,
    *,
    to: Path,
    device: "torch.device",
) -> None:
    """Write a picture of some attacked images, clean and triggered, with the answers.

    Raises:
        LocalError: it cannot be written.
    """
    from trainer.evaluation.metrics import examples, triggered
    from trainer.evaluation.pairs import Answers, side_by_side
    from trainer.files import write_whole
    from trainer.networks.inference import predict

    shown = examples(data, attack, classes=network.classes, count=SHOWN)
    stamped = triggered(shown, attack)
    answers = zip(
        shown.labels.tolist(),
        predict(network, shown.images, device=device).tolist(),
        predict(network, stamped, device=device).tolist(),
        strict=True,
    )
    figure = side_by_side(shown.images, stamped, [Answers(*it) for it in answers])
    image = io.BytesIO()
    figure.savefig(image, format="png", dpi=140)
    write_whole(to, image.getvalue())
