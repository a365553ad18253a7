"""``zoo jobs``: order work, watch it, stop it."""

import json
from pathlib import Path
from typing import Annotated

import typer

from model_zoo.cli.options import DEFAULT_URL, Authority, TokenFile, Url, connect
from model_zoo.cli.output import emit, say
from model_zoo.cli.specs import read_spec
from model_zoo.errors import ExpectationError
from model_zoo.http.responses import Job
from model_zoo.http.sse import JobEvent
from model_zoo.keys.ed25519 import PublicKey
from model_zoo.text import printable

JobId = Annotated[str, typer.Argument(help="The job's id.")]

app = typer.Typer(help="Order work, watch it, stop it.", no_args_is_help=True)


@app.command()
def submit(
    spec: Annotated[Path, typer.Argument(help="Spec file (JSON) with its kind.")],
    *,
    trainer: Annotated[str, typer.Option(help="Who shall do it.")],
    url: Url = DEFAULT_URL,
    ca: Authority = None,
    token_file: TokenFile = None,
) -> None:
    """Ask a trainer to do the job that a spec file describes."""
    with connect(url, ca=ca, token_file=token_file) as zoo:
        _told(zoo.submit(read_spec(spec), trainer=trainer))


@app.command()
def show(
    job: JobId,
    *,
    url: Url = DEFAULT_URL,
    ca: Authority = None,
    token_file: TokenFile = None,
) -> None:
    """Show how a job stands."""
    with connect(url, ca=ca, token_file=token_file) as zoo:
        _told(zoo.job(job))


@app.command()
def fetch(
    job: JobId,
    *,
    builder: Annotated[Path, typer.Option(help="Pinned builder key (PEM).")],
    spec: Annotated[Path, typer.Option(help="The spec that you sent (JSON).")],
    to: Annotated[Path, typer.Option(help="Folder to make.")],
    url: Url = DEFAULT_URL,
    ca: Authority = None,
    token_file: TokenFile = None,
) -> None:
    """Fetch what a job made, if the pinned builder says it is what you ordered."""
    pinned, ordered = PublicKey.load(builder), read_spec(spec)
    with connect(url, ca=ca, token_file=token_file) as zoo:
        zoo.fetch_draft(job, builder=pinned, spec=ordered, to=to)
    say(f"{to}: the draft of job {job}, as ordered")
    emit({"job": job, "path": str(to)})


@app.command()
def watch(
    job: JobId,
    *,
    url: Url = DEFAULT_URL,
    ca: Authority = None,
    token_file: TokenFile = None,
) -> None:
    """Follow a job to its end; exit 1 unless it succeeded."""
    with connect(url, ca=ca, token_file=token_file) as zoo:
        _say_if_waiting(zoo.job(job))
        for event in zoo.events(job):
            say(_event_line(event))
        ended = zoo.job(job)
    say(_line(ended))
    if ended.state != "succeeded":
        msg = f"job {job} {ended.state}: {ended.error or 'no reason was given'}"
        raise ExpectationError(msg)
    emit(ended.to_object())


@app.command()
def cancel(
    job: JobId,
    *,
    url: Url = DEFAULT_URL,
    ca: Authority = None,
    token_file: TokenFile = None,
) -> None:
    """Ask for a job to be stopped."""
    with connect(url, ca=ca, token_file=token_file) as zoo:
        _told(zoo.cancel(job))


@app.command("list")
def list_jobs(
    *,
    state: Annotated[str | None, typer.Option(help="Only jobs in this state.")] = None,
    trainer: Annotated[str | None, typer.Option(help="Only this trainer's.")] = None,
    url: Url = DEFAULT_URL,
    ca: Authority = None,
    token_file: TokenFile = None,
) -> None:
    """List jobs."""
    with connect(url, ca=ca, token_file=token_file) as zoo:
        jobs = zoo.jobs(state=state, trainer=trainer)
    for job in jobs:
        say(_line(job))
    emit({"items": [job.to_object() for job in jobs]})


def _say_if_waiting(job: Job) -> None:
    if job.state == "queued":
        why = f" ({job.waiting_because})" if job.waiting_because else ""
        say(f"{job.id} waits for a worker of trainer {job.trainer} to take it{why}")


def _event_line(event: JobEvent) -> str:
    """Return what happened on one line, whatever a worker has put into it."""
    facts = dict(event.data)
    if "epoch" in facts and "epochs" in facts:
        facts["epoch"] = f"{facts['epoch']} of {facts.pop('epochs')}"
    words = ", ".join(f"{name} {_fact(name, it)}" for name, it in facts.items())
    return printable(f"{event.sequence:4}  {event.type:9}  {words}".rstrip())


def _fact(name: str, value: object) -> str:
    if isinstance(value, float):
        return f"{value:.2%}" if name == "accuracy" else f"{value:.4g}"
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _told(job: Job) -> None:
    say(_line(job))
    emit(job.to_object())


def _line(job: Job) -> str:
    why = job.error or job.waiting_because
    return f"{job.id} {job.kind} by {job.trainer}: {job.state}" + (
        f" ({why})" if why else ""
    )
