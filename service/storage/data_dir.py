"""The folders that one service at a time writes: its data, and the keys it signs with.

The system drops these locks when the process ends, however it ends: none is ever stale.
"""

import fcntl
import os
from pathlib import Path

from model_zoo.errors import LocalError
from model_zoo.files import open_lock
from service.storage.blobs import translate_errors

OWNER_ONLY_FOLDER = 0o700
KEYS_LOCK_FILE = "served.lock"


def lock_data_dir(path: Path) -> int:
    """Make the folder and return a descriptor that holds its lock until closed.

    Raises:
        LocalError: it cannot be written, or another service uses it.
    """
    with translate_errors(f"cannot use data folder {path}"):
        path.mkdir(parents=True, exist_ok=True, mode=OWNER_ONLY_FOLDER)
        descriptor = open_lock(path / "lock")
    return _locked(
        descriptor,
        f"another zoo serves from {path}: stop it, or pass another --data-dir",
    )


def lock_keys(folder: Path) -> int:
    """Return a descriptor that holds the lock on a folder of keys until closed.

    Two services that sign with the same keys tell two histories. Only services take
    this lock: whatever the operator does in the folder meanwhile is not held up.

    Raises:
        LocalError: the folder cannot be written, or another service uses it.
    """
    with translate_errors(f"cannot lock the keys in {folder}"):
        descriptor = open_lock(folder / KEYS_LOCK_FILE)
    return _locked(
        descriptor,
        f"another zoo signs with the keys in {folder}: stop it, or make others for "
        "this one with zoo trust init",
    )


def _locked(descriptor: int, in_use: str) -> int:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(descriptor)
        raise LocalError(in_use) from error
    return descriptor
