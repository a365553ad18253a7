"""Try the sandbox before the first job, and take none if it keeps no secret.

What the system grants is not guessed at: a child like those that will train is started
and tries to open what it must not see.
"""

import os
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from model_zoo.canonical import JsonObject
from model_zoo.errors import NotPermittedError
from trainer.jobs.results import remove
from trainer.jobs.supervisor import AttemptError, Child, run_order

NOBODY = 65534
"""The user and the group without rights, by Linux's convention."""
PROBE_SECONDS = 600
"""Only bounds a child that hangs."""
ADVICE = (
    "run the worker as root, or on a Linux with Landlock (5.19 or later) or with user "
    "namespaces; keep key, passphrase and token out of the folders of data sets and of "
    "installed packages"
)


def choose_child(
    scratch: Path, *, secrets: Sequence[Path], child: Child
) -> tuple[Child, str]:
    """Return what the children of this worker are, and what is in force, in words.

    Where we are root another user is tried first. He cannot read an interpreter that
    is root's own, unless he gets a root of paths in which there is a way to it.

    Args:
        scratch: the worker's folder.
        secrets: files that no child may read; the worker's memory is one more.
        child: what they are, but for the user.

    Raises:
        NotPermittedError: no child could be started that reads none of them.
    """
    own = Path(f"/proc/{os.getpid()}")
    kept = [*(it.resolve() for it in secrets), own / "environ", own / "mem"]
    failed = []
    for user in (NOBODY, None) if os.geteuid() == 0 else (None,):
        candidate = replace(child, user=user)
        who = "as its own user" if user is None else f"as user {user}"
        try:
            opened, standing = _probe(candidate, scratch, secrets=kept)
        except AttemptError as error:
            failed.append(f"{who}: {error}")
            continue
        if not opened:
            return candidate, "; ".join([standing, *failed])
        failed.append(f"{who} ({standing}) it could read {', '.join(opened)}")
    msg = f"a training process would not be kept from secrets: {'; '.join(failed)}"
    msg = f"{msg}; no job is taken: {ADVICE}"
    raise NotPermittedError(msg)


def _probe(
    child: Child, scratch: Path, *, secrets: Sequence[Path]
) -> tuple[list[str], str]:
    """Return which of ``secrets`` a child opened, and what was in force."""
    order = {
        "action": "probe",
        "max_seconds": PROBE_SECONDS,
        "secrets": [str(path) for path in secrets],
    }
    heard: JsonObject = {}
    folder = Path(tempfile.mkdtemp(prefix="probe-", dir=scratch))
    try:
        run_order(
            order, folder=folder, hear=heard.update, tick=lambda: None, child=child
        )
    finally:
        remove(folder)
    if "opened" not in heard:
        msg = "it ended without a word"
        raise AttemptError(msg, retry=False)
    return [str(it) for it in heard["opened"]], str(heard["sandbox"])
