"""Claim: the queue adds less than half a second to a job, and kills lose none.

Overhead: a job that does nothing, from the call that submits it to the event that ends
it, beside the floor, a Python process that does nothing. Kills: many such jobs, several
workers, SIGKILL to random children that build and to random workers; afterwards every
job has ended with one draft, made by one attempt.
"""

import random
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from benchmarks.measuring import Options, summaries, take_turns
from benchmarks.processes import zoo_served
from model_zoo.canonical import JsonObject
from model_zoo.client.zoo import ZooClient
from model_zoo.http.responses import FINAL_STATES
from model_zoo.keys.ed25519 import SigningKey
from model_zoo.statements.jobs import NoopSpec
from trainer.files import write_whole
from trainer.lab.actors.processes import running

TRAINER = "bench"
ROUNDS = 40
QUICK_ROUNDS, QUICK_JOBS = 2, 4
WORKERS = 4
JOBS_PER_KILL = 20
"""One kill of a child and one of a worker for so many jobs: three of one job, which
the service gives up on, stay improbable (about 0.1 jobs in 1,000)."""
OWNER_ONLY = 0o600
MAX_OVERHEAD_SECONDS = 0.5
END_SECONDS = 3600


def measure(options: Options) -> JsonObject:
    """Return the overhead a job, and what became of the jobs under kills."""
    rounds = options.rounds or (QUICK_ROUNDS if options.quick else ROUNDS)
    overhead = _overhead(rounds)
    kills = _under_kills(QUICK_JOBS if options.quick else options.jobs)
    median = overhead["submit to done"]["seconds"]["median"]
    return {
        "overhead": overhead,
        "kills": kills,
        "goals": {
            "median overhead in seconds": {
                "at_most": MAX_OVERHEAD_SECONDS,
                "found": median,
                "met": median < MAX_OVERHEAD_SECONDS,
            },
            "none lost, none twice": {
                "met": kills["succeeded"] == kills["jobs"]
                and kills["made_twice"] == 0
                and kills["without_draft"] == 0
            },
        },
    }


def _overhead(rounds: int) -> JsonObject:
    with (
        tempfile.TemporaryDirectory(prefix="zoo-bench-") as folder,
        _zoo(Path(folder), workers=1) as zoo,
    ):
        _timed_job(zoo)  # the first waits until the worker has started
        sides = {
            "submit to done": lambda: _timed_job(zoo),
            "an empty Python process": _timed_process,
        }
        said = take_turns(sides, rounds=rounds)
    seconds = sorted(each["seconds"] for each in said["submit to done"])
    found: JsonObject = {name: summaries(each) for name, each in said.items()}
    at = min(len(seconds) - 1, round(0.95 * len(seconds)))
    found["submit to done"]["seconds"]["p95"] = round(seconds[at], 4)
    return found


def _timed_job(zoo: ZooClient) -> JsonObject:
    started = time.perf_counter()
    job = zoo.wait(zoo.submit(NoopSpec(), trainer=TRAINER).id)
    if job.state != "succeeded":
        msg = f"job {job.id} {job.state}: {job.error}"
        raise RuntimeError(msg)
    return {"seconds": time.perf_counter() - started}


def _timed_process() -> JsonObject:
    started = time.perf_counter()
    subprocess.run([sys.executable, "-c", "pass"], check=True)
    return {"seconds": time.perf_counter() - started}


def _under_kills(jobs: int) -> JsonObject:
    """Submit ``jobs`` jobs, kill while they run, and count what became of them."""
    started = time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="zoo-bench-") as folder:
        with zoo_served(Path(folder)) as url, ZooClient(url) as zoo:
            with _crew(Path(folder), zoo, url=url) as crew:
                ids = [
                    zoo.submit(NoopSpec(note=str(number)), trainer=TRAINER).id
                    for number in range(jobs)
                ]
                _kill_until_done(crew, zoo, jobs=jobs)
            states = [zoo.job(job).state for job in ids]
        made = _drafts(Path(folder) / "data" / "zoo.db", ids)
    return {
        "jobs": jobs,
        "workers": WORKERS,
        "killed_children": crew.killed_children,
        "killed_workers": crew.killed_workers,
        "seconds": round(time.perf_counter() - started, 1),
        "succeeded": states.count("succeeded"),
        "failed": states.count("failed"),
        "never_ended": sum(state not in FINAL_STATES for state in states),
        "without_draft": sum(count == 0 for count, _ in made),
        "made_twice": sum(max(counts) > 1 for counts in made),
    }


@dataclass(slots=True)
class _Crew:
    """Workers that are started again after each kill, and the tally of kills."""

    start: Callable[[int], subprocess.Popen[bytes]]
    random: random.Random
    processes: dict[int, subprocess.Popen[bytes]] = field(default_factory=dict)
    killed_children: int = 0
    killed_workers: int = 0

    def kill_worker(self) -> None:
        """Kill a worker with SIGKILL; a new one takes its place."""
        number = self.random.choice(list(self.processes))
        self.processes[number].kill()
        self.processes[number].wait()
        self.killed_workers += 1
        self.processes[number] = self.start(number)

    def kill_child(self) -> bool:
        """Kill one child of a worker; return whether there was one."""
        children = [
            child
            for process in self.processes.values()
            for child in _children(process.pid)
        ]
        if not children:
            return False
        with suppress(psutil.NoSuchProcess):
            self.random.choice(children).kill()
            self.killed_children += 1
        return True


def _children(pid: int) -> list[psutil.Process]:
    with suppress(psutil.NoSuchProcess):
        return list(psutil.Process(pid).children())
    return []


def _kill_until_done(crew: _Crew, zoo: ZooClient, *, jobs: int) -> None:
    """Kill a child and a worker whenever JOBS_PER_KILL more jobs have ended."""
    deadline = time.monotonic() + END_SECONDS
    due_child = due_worker = 1
    while time.monotonic() < deadline:
        open_jobs = len(zoo.jobs(state="queued")) + len(zoo.jobs(state="running"))
        ended = jobs - open_jobs
        if open_jobs == 0:
            return
        if ended >= due_child and crew.kill_child():
            due_child += JOBS_PER_KILL
        if ended >= due_worker:
            crew.kill_worker()
            due_worker += JOBS_PER_KILL
        time.sleep(crew.random.uniform(0.05, 0.3))


def _drafts(database: Path, ids: list[str]) -> list[tuple[int, int]]:
    """Return, for each job, how many drafts and how many successful attempts it has.

    Read from the database itself: an independent witness of what the service tells.
    """
    count = (
        "SELECT (SELECT COUNT(*) FROM drafts WHERE job_id = :job), "
        "(SELECT COUNT(*) FROM attempts WHERE job_id = :job AND state = 'succeeded')"
    )
    with sqlite3.connect(database) as connection:
        return [connection.execute(count, {"job": job}).fetchone() for job in ids]


@contextmanager
def _crew(folder: Path, zoo: ZooClient, *, url: str) -> Iterator[_Crew]:
    """Run WORKERS workers of TRAINER until the block ends."""
    with ExitStack() as stack:

        def start(number: int) -> subprocess.Popen[bytes]:
            arguments = _worker(folder, url=url, number=number)
            log = folder / f"worker-{number}.log"
            return stack.enter_context(running(arguments, log=log))

        _bind(folder, zoo)
        crew = _Crew(start=start, random=random.Random(0))  # noqa: S311  no secret
        crew.processes = {number: start(number) for number in range(WORKERS)}
        yield crew


@contextmanager
def _zoo(folder: Path, *, workers: int) -> Iterator[ZooClient]:
    """Serve a zoo with ``workers`` workers of TRAINER and yield a client of it."""
    with ExitStack() as stack:
        url = stack.enter_context(zoo_served(folder))
        zoo = stack.enter_context(ZooClient(url))
        _bind(folder, zoo)
        for number in range(workers):
            arguments = _worker(folder, url=url, number=number)
            log = folder / f"worker-{number}.log"
            stack.enter_context(running(arguments, log=log))
        yield zoo


def _bind(folder: Path, zoo: ZooClient) -> None:
    """Make the builder's key and bind TRAINER to it."""
    passphrase = folder / "passphrase"
    write_whole(passphrase, b"a benchmark keeps no secrets")
    passphrase.chmod(OWNER_ONLY)
    key = SigningKey.generate()
    key.save(folder / "key.pem", passphrase=passphrase.read_bytes())
    zoo.bind_trainer(TRAINER, key.public)


def _worker(folder: Path, *, url: str, number: int) -> list[str]:
    return [
        "model_zoo",
        "worker",
        f"--url={url}",
        f"--trainer={TRAINER}",
        f"--key={folder / 'key.pem'}",
        f"--passphrase-file={folder / 'passphrase'}",
        f"--scratch={folder / f'scratch-{number}'}",
    ]
