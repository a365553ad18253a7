"""Rebuilding: does a build come out the same, all of it or where chance points?

Training is deterministic, so a trainer's word can be checked by doing the work again.
A spot check does a part: it replays epochs between two checkpoints whose digests the
builder signed before anybody drew which ones. No trigger is needed and none is looked
for: whatever else the trainer did, these weights did not come of this spec.

Nothing less than equal bits counts. A backdoor fits inside the drift between two
kinds of processors, so a tolerance would let it pass.

Source:
    Jia et al., "Proof-of-Learning", IEEE S&P 2021, section V (verification by
    replaying steps between checkpoints), here without its tolerance.
"""

import secrets
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from torch import Tensor

from model_zoo.digests import sha256_bytes, sha256_stream
from model_zoo.errors import (
    DigestMismatchError,
    ExpectationError,
    InvalidSpecError,
    LocalError,
)
from model_zoo.files import open_plain, translate_os_errors
from model_zoo.names import check_name
from model_zoo.statements.folder import manifest_of
from model_zoo.statements.intoto import Provenance, subjects_of
from model_zoo.statements.jobs import NoopSpec, RepairSpec, parse_spec
from trainer.builds.build import (
    WEIGHTS_NAME,
    Report,
    inputs_of,
    parent_bytes,
    prepare,
)
from trainer.files import read_bytes
from trainer.installed import code_digest
from trainer.jobs.handlers import ModelSpec, environment_of, make
from trainer.training.devices import choose_device, recorded_device
from trainer.training.fit import Runtime, Segment, replay
from trainer.training.optimizers import first_momenta
from trainer.training.setup import Lesson, ReplayableSpec, begin, require_classes
from trainer.training.state import checkpoint_name, state_from_bytes, state_to_bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Rebuilt:
    """What a rebuild found, or a spot check, which rebuilds a part.

    Attributes:
        differing: what did not come out as the provenance says; empty if all did.
        environment: how this machine differs from the builder's, in words.
        segments: the epochs that were trained again, counted from 0.
        total: how many there are.
    """

    differing: tuple[str, ...]
    environment: tuple[str, ...]
    segments: tuple[int, ...]
    total: int

    @property
    def miss_probability(self) -> float:
        """The chance that one forged segment was not among those trained again."""
        return 1 - len(self.segments) / self.total

    def require_identical(self) -> None:
        """Accept the build only if nothing differed.

        Raises:
            ExpectationError: something did; it says what, and what else could explain
                it.
        """
        if not self.differing:
            return
        msg = f"not reproduced: {'; '.join(self.differing)}"
        if self.environment:
            msg += (
                ". This machine is not the builder's, which alone can change bits: "
                f"{'; '.join(self.environment)}. Repeat it where these are the same"
            )
        raise ExpectationError(msg)


def rebuild(
    folder: Path,
    provenance: Provenance,
    *,
    parent: Path | None = None,
    device: str | None = None,
    report: Report = lambda _: None,
) -> Rebuilt:
    """Build again as ``provenance`` says, and compare every file it names.

    The caller sets the threads: one, as workers do. A conversion is one segment.

    Args:
        folder: the files of the release or draft.
        provenance: verified, such as by ``open_provenance``.
        parent: the weights file that the spec names by digest, if it names one.
        device: a name in ``trainer.training.devices.DEVICE_NAMES``; None for the
            builder's, as only that gives the same bits.
        report: as for ``build``.

    Raises:
        DigestMismatchError: ``folder`` holds other files than the provenance names.
        InvalidSpecError: it was a noop, or its parent is needed.
        LocalError: this machine does not have the device.
        ZooError: as ``make``.
    """
    spec = _spec(provenance)
    device = device or _builders_device(provenance)
    _require_files(folder, provenance)
    with TemporaryDirectory(prefix="zoo-rebuild-") as scratch:
        made = Path(scratch) / "made"
        make(spec, folder=made, parent=parent, device=device, report=report)
        found = subjects_of(manifest_of(made))
    claimed = provenance.subjects
    differing = [
        name
        for name in sorted(claimed.keys() | found.keys())
        if claimed.get(name) != found.get(name)
    ]
    return Rebuilt(
        differing=(*_other_inputs(spec, provenance), *differing),
        environment=_other_environment(spec, provenance, device=device),
        segments=tuple(range(_segments(spec))),
        total=_segments(spec),
    )


def _segments(spec: ModelSpec) -> int:
    if isinstance(spec, ReplayableSpec | RepairSpec):
        return spec.schedule.epochs
    return 1


def draw(provenance: Provenance, count: int) -> tuple[int, ...]:
    """Return ``count`` distinct segments of a build, each as likely as any other.

    Draw after the provenance is signed and tell nobody before: who knows which
    segments will be replayed forges another one.

    Raises:
        InvalidSpecError: there are not so many, or the build keeps no checkpoints.
    """
    total = _replayable(provenance).schedule.epochs
    if not 1 <= count <= total:
        msg = f"spot check of {count}: the build has {total} segments"
        raise InvalidSpecError(msg)
    return tuple(sorted(secrets.SystemRandom().sample(range(total), count)))


def spot_check(
    folder: Path,
    provenance: Provenance,
    *,
    segments: Collection[int],
    parent: Path | None = None,
    device: str | None = None,
) -> Rebuilt:
    """Replay ``segments`` of a build, and compare the checkpoints they end in.

    That the first checkpoint comes of seed and parent, and that the last one's weights
    are those of the release, costs next to nothing and is checked always. What is not
    checked: the evaluation and the history, which are claims.

    Args:
        folder: the files of the release or draft, checkpoints included.
        provenance: verified, such as by ``open_provenance``.
        segments: as ``draw`` draws them; segment 0 is the first epoch.
        parent: the weights file that the spec names by digest, if it names one.
        device: as for ``rebuild``.

    Raises:
        DigestMismatchError: ``folder`` holds other files than the provenance names.
        InvalidSpecError: there are no checkpoints, or the parent is needed.
        MalformedDocumentError: a checkpoint does not fit the network.
        LocalError: this machine does not have the device.
        ZooError: as ``build``.
    """
    spec = _replayable(provenance)
    device = device or _builders_device(provenance)
    _require_files(folder, provenance)
    task = prepare(
        spec, parent_bytes(spec, parent), device=device, report=lambda _: None
    )
    lesson = begin(spec, task)
    ends = {0: _start(lesson, spec)}
    generator_state = task.generator.get_state()
    for segment in sorted(set(segments)):
        generator = torch.Generator().set_state(generator_state)
        ends[segment + 1] = _end(
            folder, spec, lesson, segment, generator=generator, runtime=task.runtime
        )
    return Rebuilt(
        differing=(
            *_other_inputs(spec, provenance),
            *_other_ends(ends, provenance),
            *_loose_end(folder, spec),
        ),
        environment=_other_environment(spec, provenance, device=device),
        segments=tuple(sorted(set(segments))),
        total=spec.schedule.epochs,
    )


def _start(lesson: Lesson, spec: ReplayableSpec) -> str:
    """Return the SHA-256 of the checkpoint with which a fit starts."""
    learning = [p for p in lesson.learner.parameters() if p.requires_grad]
    momenta = first_momenta(learning, spec.schedule)
    return sha256_bytes(state_to_bytes(lesson.network, lesson.learner, momenta))


def _end(
    folder: Path,
    spec: ReplayableSpec,
    lesson: Lesson,
    segment: int,
    *,
    generator: torch.Generator,
    runtime: Runtime,
) -> str:
    """Return the SHA-256 of the checkpoint in which ``segment`` ends, replayed here."""
    data = read_bytes(folder / checkpoint_name(segment))
    state = state_from_bytes(data, network=spec.network)
    require_classes(state.network, lesson.network.classes)
    momenta = state.momenta_of(lesson.learner, spec.schedule)
    lesson.network.load_state_dict(state.network.state_dict())
    ends: list[str] = []

    def note(_: int, momenta: Sequence[Tensor]) -> None:
        end = state_to_bytes(lesson.network, lesson.learner, momenta)
        ends.append(sha256_bytes(end))

    replay(
        lesson.learner,
        lesson.inputs,
        lesson.labels,
        segment=Segment(schedule=spec.schedule, number=segment + 1, momenta=momenta),
        generator=generator,
        runtime=replace(lesson.runtime(runtime), on_state=note),
    )
    return ends[0]


def _other_ends(ends: dict[int, str], provenance: Provenance) -> tuple[str, ...]:
    """Return what to say of each replayed checkpoint that is not the claimed one."""
    return tuple(
        f"segment {number - 1} does not end in {checkpoint_name(number)}"
        if number
        else "the first checkpoint does not come of seed and parent"
        for number, sha256 in ends.items()
        if provenance.subjects[checkpoint_name(number)] != sha256
    )


def _loose_end(folder: Path, spec: ReplayableSpec) -> tuple[str, ...]:
    """Return what to say if the release is not where the checkpoints lead."""
    last = checkpoint_name(spec.schedule.epochs)
    state = state_from_bytes(read_bytes(folder / last), network=spec.network)
    if state.weights == read_bytes(folder / WEIGHTS_NAME):
        return ()
    return (f"{WEIGHTS_NAME} does not hold the weights of {last}",)


def _builders_device(provenance: Provenance) -> str:
    """Return the name of the device that the builder says he used.

    Raises:
        LocalError: this machine has none: nothing can be said of the build here.
        InvalidSpecError: there is no such device anywhere.
    """
    name = recorded_device(provenance.environment)
    try:
        choose_device(name)
    except LocalError as error:
        msg = (
            f"built on {provenance.environment['device']!a}, which this machine does "
            "not have: other devices give other bits, so it cannot be checked here"
        )
        raise LocalError(msg) from error
    return name


def _spec(provenance: Provenance) -> ModelSpec:
    spec = parse_spec(provenance.kind, provenance.spec)
    if isinstance(spec, NoopSpec):
        msg = "a noop makes nothing that could be rebuilt"
        raise InvalidSpecError(msg)
    return spec


def _replayable(provenance: Provenance) -> ReplayableSpec:
    spec = _spec(provenance)
    if not isinstance(spec, ReplayableSpec) or not spec.checkpoints:
        msg = "this build keeps no checkpoints to replay from: rebuild all of it"
        raise InvalidSpecError(msg)
    names = map(checkpoint_name, range(spec.schedule.epochs + 1))
    absent = [
        name for name in (*names, WEIGHTS_NAME) if name not in provenance.subjects
    ]
    if absent:
        msg = f"the builder was to sign {', '.join(absent)}, and did not"
        raise ExpectationError(msg)
    return spec


def _require_files(folder: Path, provenance: Provenance) -> None:
    """Accept ``folder`` if it holds the very files that the builder signed."""
    for name, sha256 in provenance.subjects.items():
        path = folder / check_name(name, what="file")
        with translate_os_errors(f"cannot read {path}"), open_plain(path) as file:
            found = sha256_stream(file)
        if found != sha256:
            raise DigestMismatchError.of(name, expected=sha256, found=found)


def _other_inputs(spec: ModelSpec, provenance: Provenance) -> tuple[str, ...]:
    mine = inputs_of(spec)
    if mine == provenance.inputs:
        return ()
    names = sorted(
        name
        for name in mine.keys() | provenance.inputs.keys()
        if mine.get(name) != provenance.inputs.get(name)
    )
    return (f"the builder names other data than the spec: {', '.join(names)}",)


def _other_environment(
    spec: ModelSpec, provenance: Provenance, *, device: str
) -> tuple[str, ...]:
    """Return how this machine differs from the one that the provenance names."""
    theirs = provenance.environment | {"code": provenance.code}
    mine = environment_of(spec, device=device) | {"code": code_digest()}
    return tuple(
        f"{name} {theirs.get(name)} there, {mine.get(name)} here"
        for name in sorted(theirs.keys() | mine.keys())
        if theirs.get(name) != mine.get(name)
    )
