"""Processes forked from one that has imported the service: a start costs no import.

They are processes like any other, which die alone and have limits of their own. What
is about the start itself runs ``python -m model_zoo`` instead.
"""

import multiprocessing
import os
import resource
from collections.abc import Callable
from functools import partial
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from model_zoo.cli import main
from service.http.tls import TlsFiles
from service.serving import Start, serve, write_ready_file
from service.settings import Settings
from trainer.sandbox.child import die_with_parent

_FORKS = multiprocessing.get_context("forkserver")
_IMPORTED = [
    "service.cli",
    "service.serving",
    "trainer.cli.experiments",
    "trainer.cli.lab",
    "trainer.cli.models",
    "trainer.jobs.command",
]


def start(
    act: Callable[..., object], *arguments: object, said: Path | None = None
) -> BaseProcess:
    """Return a process that calls ``act``; what it writes goes to ``said``, if given.

    Functions and arguments travel as pickles, connections among them.
    """
    _FORKS.set_forkserver_preload(_IMPORTED)
    process = _FORKS.Process(target=_run, args=(said, act, arguments))
    process.start()
    return process


def serve_over(
    folder: Path,
    settings: dict[str, Any],
    *,
    tls: TlsFiles | None,
    descriptors: int | None,
) -> None:
    """Serve with data in ``folder``, where ``ready.json`` will lie.

    Args:
        folder: holds the data folder ``zoo`` as well.
        settings: the service's.
        tls: what to show; None speaks HTTP.
        descriptors: how many the process may ask for; it begins with 256.
    """
    if descriptors is not None:
        limits = (min(256, descriptors), descriptors)
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    start = Start(
        settings=Settings(data_dir=folder / "zoo", **settings),
        port=0,
        workers=0,
        token_file=None,
        tls=tls,
        on_ready=partial(write_ready_file, folder / "ready.json"),
    )
    serve(start)


def zoo(*words: str, said: Path) -> BaseProcess:
    """Return a process that runs the ``zoo`` command."""
    return start(main, words, said=said)


def _run(
    said: Path | None, act: Callable[..., object], arguments: tuple[object, ...]
) -> None:
    die_with_parent()  # the fork server, which ends with the tests
    if said is not None:
        file = os.open(said, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        for descriptor in (1, 2):
            os.dup2(file, descriptor)
    act(*arguments)
