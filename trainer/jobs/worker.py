"""The worker: leases a job, has a child do it, hashes and signs what was made.

The builder's key is in this process only; the child that trains never sees it. What
the child says of its model is passed on as a claim; accuracy is measured again by a
second child that gets nothing but the files, copied and hashed when the first and all
that it started are no more. The key signs those digests and that measurement.
"""

import os
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

from model_zoo.canonical import JsonObject
from model_zoo.client.worker import WorkClient
from model_zoo.clock import rfc3339
from model_zoo.errors import (
    ConflictError,
    InvalidSpecError,
    LocalError,
    NotFoundError,
    TransportError,
    VerificationError,
)
from model_zoo.http.responses import Lease
from model_zoo.keys.ed25519 import SigningKey
from model_zoo.statements.evaluation import EvaluationReport
from model_zoo.statements.intoto import (
    Provenance,
    invocation_of,
    sign_provenance,
    subjects_of,
)
from model_zoo.statements.jobs import (
    JOB_KINDS,
    ChildSpec,
    JobSpec,
    MeasuredSpec,
    data_of,
    kind_of,
    parse_spec,
)
from model_zoo.statements.manifest import Manifest
from trainer.installed import code_digest, foreign, packages_of
from trainer.jobs import attempt
from trainer.jobs.results import read_facts, read_report, remove, take
from trainer.jobs.supervisor import AttemptError, Child, run_child

LEASE_SECONDS = 60
HEARTBEATS_PER_LEASE = 24
"""So many in a row a busy machine may miss before it passes for a dead one."""
IDLE_SECONDS = 0.2
MAX_IDLE_SECONDS = 1.0
"""Doubling up to it, a worker without work costs its zoo one request a second."""
OFFLINE_SECONDS = 2.0
MAX_EVENTS = 64
"""As many as the service takes in one call."""
MAX_ERROR_CHARACTERS = 4096
"""Fewer than the service keeps of why an attempt failed."""

Clock = Callable[[], datetime]


def utc_now() -> datetime:
    """Return the time now, aware, in UTC."""
    return datetime.fromtimestamp(time.time(), tz=UTC)


def as_asked(spec: JobSpec) -> JobSpec:
    """Return the order to carry out: an honest worker's is the one it was given."""
    return spec


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """What an attempt made: files out of the child's reach, digests, the measurement.

    ``asked`` is the order as it was given; ``measured`` is None for a kind of job that
    nobody measures.
    """

    asked: JobSpec
    folder: Path
    manifest: Manifest
    measured: EvaluationReport | None


def as_they_are(made: Made) -> Manifest:
    """Return the files as they were taken, as an honest worker does."""
    return made.manifest


@dataclass(frozen=True, slots=True, kw_only=True)
class Worker:
    """Who works for whom: a trainer's name, its builder key, a scratch folder.

    ``carries_out`` and ``tidies`` are the seams at which the laboratory's adversary
    differs from an honest trainer: the one maps the spec that was asked for to the
    one that is trained, while the provenance goes on claiming the first; the other
    may touch the results, and says what is signed. ``datasets`` maps the name of each
    data set that is known to be on this machine to its digest. ``child`` is what each
    child is that trains or measures.
    """

    client: WorkClient
    trainer: str
    key: SigningKey
    scratch: Path
    carries_out: Callable[[JobSpec], JobSpec] = as_asked
    tidies: Callable[[Made], Manifest] = as_they_are
    clock: Clock = utc_now
    datasets: dict[str, str] = field(default_factory=dict)
    child: Child = Child()  # noqa: RUF009  frozen


class FencedError(Exception):
    """The attempt is no longer this worker's: drop it without another word."""


class CancelledError(Exception):
    """The user wants the job no more."""


@dataclass(slots=True)
class _Hold:
    """The worker's hold on an attempt: beats in time, notices when it is lost."""

    client: WorkClient
    lease: Lease
    _beat_at: float = field(default_factory=time.monotonic)
    _tried_at: float = field(default_factory=time.monotonic)
    _events: list[JsonObject] = field(default_factory=list)

    def hear(self, progress: JsonObject) -> None:
        """Keep a line of progress for the next call to the service."""
        self._events.append({"type": "progress", "data": progress})

    def tick(self) -> None:
        """Beat and report when it is time.

        Raises:
            FencedError: another attempt took over, or no beat got through in time.
            CancelledError: the user cancelled the job.
        """
        now = time.monotonic()
        interval = self.lease.lease_seconds / HEARTBEATS_PER_LEASE
        if self._events or now - self._tried_at >= interval:
            self._tried_at = now
            self._call()
        if time.monotonic() - self._beat_at > self.lease.lease_seconds:
            raise FencedError

    def _call(self) -> None:
        try:
            if self._events:
                self.client.report(self.lease.attempt, self._events[:MAX_EVENTS])
                del self._events[:MAX_EVENTS]
            cancel = self.client.heartbeat(self.lease.attempt)
        except ConflictError as error:
            raise FencedError from error
        except TransportError:
            return  # the lease outlives a short outage; `tick` sees when it does not
        self._beat_at = time.monotonic()
        if cancel:
            raise CancelledError


def run_once(worker: Worker) -> bool:
    """Lease and finish one job; return whether there was one.

    Raises:
        TransportError: the service cannot be reached.
    """
    lease = worker.client.lease(
        worker.trainer,
        worker=f"{socket.gethostname().lower()[:40]}-{os.getpid()}",
        kinds=list(JOB_KINDS),
        names=list(foreign()),
        lease_seconds=LEASE_SECONDS,
    )
    if lease is None:
        return False
    folder = worker.scratch / lease.attempt
    folder.mkdir(parents=True)
    # A conflict on the last word means that another attempt owns the job by now.
    try:
        with suppress(FencedError, ConflictError):
            _attempt(worker, lease, folder)
    finally:
        remove(folder)
    return True


def run_forever(worker: Worker) -> None:
    """Work until the process is told to end; outages of the service are waited out."""
    idle = IDLE_SECONDS
    while True:
        try:
            if run_once(worker):
                idle = IDLE_SECONDS
                continue
        except TransportError:
            time.sleep(OFFLINE_SECONDS)
            continue
        time.sleep(idle)
        idle = min(2 * idle, MAX_IDLE_SECONDS)


def _attempt(worker: Worker, lease: Lease, folder: Path) -> None:
    """Carry the lease out and say how it ended, whichever way that was."""
    client = worker.client
    try:
        _build_and_deliver(worker, lease, folder)
    except CancelledError:
        client.cancelled(lease.attempt)
    except AttemptError as error:
        told = str(error)[:MAX_ERROR_CHARACTERS]
        client.fail(lease.attempt, error=told, retry=error.retry)
    except (InvalidSpecError, NotFoundError, LocalError, VerificationError) as error:
        told = f"{type(error).__name__}: {error}"[:MAX_ERROR_CHARACTERS]
        client.fail(lease.attempt, error=told, retry=isinstance(error, LocalError))


def _build_and_deliver(worker: Worker, lease: Lease, folder: Path) -> None:
    started = worker.clock()
    hold = _Hold(worker.client, lease)
    asked = parse_spec(lease.kind, lease.spec)
    packages = _packages(asked)
    order = worker.carries_out(asked)
    scratch = _new(folder, "build")
    inputs = _fetch_inputs(worker, order, folder=folder, scratch=scratch, hold=hold)
    _run(worker.child, "build", order, scratch=scratch, hold=hold)
    results = folder / attempt.RESULTS
    manifest = take(scratch, results, tick=hold.tick)
    measured = _measured(worker, asked, folder=folder, hold=hold)
    made = Made(asked=asked, folder=results, manifest=manifest, measured=measured)
    provenance = Provenance(
        subjects=subjects_of(worker.tidies(made)),
        kind=kind_of(asked),
        spec=asked.to_object(),
        inputs=inputs,
        code=code_digest(),
        environment={**read_facts(scratch), **packages},
        builder=worker.key.public.keyid,
        invocation=invocation_of(lease.job, lease.attempt),
        measured=measured,
        started_at=rfc3339(started),
        finished_at=rfc3339(worker.clock()),
    )
    worker.client.complete(
        lease.attempt,
        upload=worker.client.upload(results),
        provenance=sign_provenance(provenance, worker.key),
        claimed=read_report(results / attempt.CLAIMED),
    )


def _packages(asked: JobSpec) -> dict[str, str]:
    """Return what provenance says of other packages, found by us and not by a child.

    Raises:
        AttemptError: one is not installed here; another worker may have it.
    """
    try:
        return packages_of(asked)
    except InvalidSpecError as error:
        raise AttemptError(str(error), retry=True) from error


def _fetch_inputs(
    worker: Worker, spec: JobSpec, *, folder: Path, scratch: Path, hold: _Hold
) -> dict[str, str]:
    """Fetch what the building child cannot, having no network; return the digests."""
    names = data_of(spec)
    if not worker.datasets.keys() >= set(names):
        own = _new(folder, "fetch")
        _run(worker.child, "fetch", spec, scratch=own, hold=hold)
        found = read_facts(own)
        worker.datasets.update({name: str(found[name]) for name in names})
    inputs = {name: worker.datasets[name] for name in names}
    if isinstance(spec, ChildSpec):
        worker.client.fetch_blob(spec.parent, scratch / attempt.PARENT)
        inputs["parent"] = spec.parent
    return inputs


def _measured(
    worker: Worker, spec: JobSpec, *, folder: Path, hold: _Hold
) -> EvaluationReport | None:
    """Have a child that made none of the results measure the copy of them."""
    if not isinstance(spec, MeasuredSpec):
        return None
    own = _new(folder, "measure")
    child = replace(worker.child, results=folder / attempt.RESULTS)
    _run(child, "measure", spec, scratch=own, hold=hold)
    return read_report(own / attempt.MEASURED)


def _new(folder: Path, name: str) -> Path:
    """Return a scratch folder for one child, which nobody else writes to."""
    scratch = folder / name
    scratch.mkdir()
    return scratch


def _run(
    child: Child, action: str, spec: JobSpec, *, scratch: Path, hold: _Hold
) -> None:
    hear, tick = hold.hear, hold.tick
    run_child(action, spec, folder=scratch, hear=hear, tick=tick, child=child)
