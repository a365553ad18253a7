"""Jobs that the laboratory orders: each once, found again after an interruption."""

import json
import shutil
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock

from rich.progress import Progress, TaskID

from model_zoo.client.zoo import ZooClient
from model_zoo.errors import ExpectationError, NotFoundError
from model_zoo.keys.ed25519 import PublicKey
from model_zoo.statements.dsse import Role
from model_zoo.statements.intoto import Provenance, open_provenance
from model_zoo.statements.jobs import JobSpec
from trainer.files import write_whole
from trainer.lab.progress import job_progress


@dataclass(frozen=True, slots=True)
class Order:
    """What is asked of whom."""

    trainer: str
    spec: JobSpec


@dataclass(slots=True)
class OrderBook:
    """What was ordered under which label, kept in a file that outlives a kill.

    ``builders`` holds the key that the user pinned for each trainer; ``drafts`` takes
    one folder a label; ``provenances`` what their builders signed; ``earlier`` the jobs
    of a run that ended before this one, and took its workers with it.
    """

    zoo: ZooClient
    path: Path
    drafts: Path
    builders: dict[str, PublicKey]
    jobs: dict[str, str] = field(default_factory=dict)
    earlier: set[str] = field(default_factory=set)
    orders: dict[str, Order] = field(default_factory=dict)
    provenances: dict[str, Provenance] = field(default_factory=dict)
    _writing: Lock = field(default_factory=Lock, repr=False)

    def __post_init__(self) -> None:
        if self.path.exists():
            self.jobs = json.loads(self.path.read_bytes())
            self.earlier = set(self.jobs.values())

    def place(self, label: str, order: Order) -> None:
        """Send ``order``, unless a job under ``label`` is good still."""
        self.orders[label] = order
        if label in self.jobs and self._is_good(self.jobs[label], order.spec):
            return
        self._send(label, order)

    def wait_for(self, *labels: str) -> None:
        """Wait until the jobs under ``labels`` have succeeded, showing how they do.

        Raises:
            ExpectationError: one of them failed or was cancelled.
        """
        with job_progress() as progress, ThreadPoolExecutor(len(labels)) as pool:
            bars = {
                label: progress.add_task(label, total=None, note="queued")
                for label in labels
            }
            list(pool.map(lambda it: self._follow(it, progress, bars[it]), labels))

    def fetch(self, label: str) -> Path:
        """Return the folder of what the job made, verified as its user verifies it.

        Raises:
            VerificationError: it is not what was ordered of the pinned builder.
        """
        order = self.orders[label]
        to = self.drafts / label.replace(", ", "-").replace(" ", "-")
        shutil.rmtree(to, ignore_errors=True)
        builder = self.builders[order.trainer]
        provenance = self.zoo.fetch_draft(
            self.jobs[label], to=to, builder=builder, spec=order.spec
        )
        role = Role(order.trainer, (builder,))
        self.provenances[label] = open_provenance(provenance, role)
        return to

    def _send(self, label: str, order: Order) -> None:
        job = self.zoo.submit(order.spec, trainer=order.trainer)
        with self._writing:
            self.jobs[label] = job.id
            write_whole(self.path, json.dumps(self.jobs).encode())

    def _is_good(self, job_id: str, spec: JobSpec) -> bool:
        try:
            job = self.zoo.job(job_id)
        except NotFoundError:
            return False
        return job.state not in {"failed", "cancelled"} and job.spec == spec.to_object()

    def _follow(self, label: str, progress: Progress, bar: TaskID) -> None:
        for event in self.zoo.events(self.jobs[label]):
            done = event.data
            if "epoch" in done:
                note = f"epoch {done['epoch']}/{done['epochs']}"
                total, completed = done["epochs"], done["epoch"]
                progress.update(bar, total=total, completed=completed, note=note)
            elif event.type != "progress":
                progress.update(bar, note=event.type)
        job = self.zoo.job(self.jobs[label])
        if job.state == "failed" and job.id in self.earlier:
            # each kill costs a job the attempt that its worker was at
            self._send(label, self.orders[label])
            self._follow(label, progress, bar)
            return
        if job.state != "succeeded":
            reason = job.error or "no reason given"
            msg = f"job {label} ({job.id}) {job.state}: {reason}"
            raise ExpectationError(msg)
        progress.update(bar, total=1, completed=1)
