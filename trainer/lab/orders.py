"""Jobs that the laboratory orders: each once, found again after an interruption."""

import json
import shutil
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from rich.progress import Progress, TaskID

from model_zoo.answers import Job
from model_zoo.client import ZooClient
from model_zoo.errors import ExpectationError, NotFoundError
from model_zoo.jobs import JobSpec
from model_zoo.keys import PublicKey
from trainer.files import write_whole
from trainer.lab.narration import job_progress


@dataclass(slots=True)
class OrderBook:
    """What was ordered under which label, kept in a file that outlives a kill."""

    zoo: ZooClient
    path: Path
    jobs: dict[str, str] = field(default_factory=dict)
    specs: dict[str, JobSpec] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.path.exists():
            self.jobs = json.loads(self.path.read_bytes())

    def place(self, label: str, *, trainer: str, spec: JobSpec) -> None:
        """Order ``spec`` of ``trainer``, unless a job under ``label`` is good still."""
        self.specs[label] = spec
        if label in self.jobs and self._is_good(self.jobs[label], spec):
            return
        self.jobs[label] = self.zoo.submit(spec, trainer=trainer).id
        write_whole(self.path, json.dumps(self.jobs).encode())

    def wait_for(self, *labels: str) -> dict[str, Job]:
        """Wait until the jobs under ``labels`` have succeeded, showing how they do.

        Raises:
            ExpectationError: one of them failed or was cancelled.
        """
        with job_progress() as progress, ThreadPoolExecutor(len(labels)) as pool:
            bars = {
                label: progress.add_task(label, total=None, note="queued")
                for label in labels
            }
            done = pool.map(
                lambda label: self._follow(label, progress, bars[label]), labels
            )
            return dict(zip(labels, done, strict=True))

    def fetch(self, label: str, builder: PublicKey, folder: Path) -> Path:
        """Return a folder of what the job made, verified as its user verifies it.

        Args:
            label: a job that succeeded.
            builder: the pinned key of the trainer it was ordered from.
            folder: takes one folder a label; an older one of the label goes.
        """
        to = folder / label.replace(", ", "-").replace(" ", "-")
        shutil.rmtree(to, ignore_errors=True)
        self.zoo.fetch_draft(
            self.jobs[label], to=to, builder=builder, spec=self.specs[label]
        )
        return to

    def _is_good(self, job_id: str, spec: JobSpec) -> bool:
        try:
            job = self.zoo.job(job_id)
        except NotFoundError:
            return False
        return job.state not in {"failed", "cancelled"} and job.spec == spec.to_object()

    def _follow(self, label: str, progress: Progress, bar: TaskID) -> Job:
        for event in self.zoo.events(self.jobs[label]):
            told = event.data
            if "epoch" in told:
                note = f"epoch {told['epoch']}/{told['epochs']}"
                total, completed = told["epochs"], told["epoch"]
                progress.update(bar, total=total, completed=completed, note=note)
            elif event.type != "progress":
                progress.update(bar, note=event.type)
        job = self.zoo.job(self.jobs[label])
        if job.state != "succeeded":
            msg = f"job {label} ({job.id}) {job.state}: {job.error or 'no reason told'}"
            raise ExpectationError(msg)
        progress.update(bar, total=1, completed=1)
        return job
