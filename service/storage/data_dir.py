"""The folder a service keeps everything in: one service at a time."""

import fcntl
import os
from pathlib import Path

from model_zoo.errors import LocalError
from model_zoo.files import open_lock
from service.storage.blobs import translate_errors

OWNER_ONLY_FOLDER = 0o700


def lock_data_dir(path: Path) -> int:
    """Make the folder and return a descriptor that holds its lock until closed.

    Raises:
        LocalError: it cannot be written, or another service uses it.
    """
    with translate_errors(f"cannot use data folder {path}"):
        path.mkdir(parents=True, exist_ok=True, mode=OWNER_ONLY_FOLDER)
        descriptor = open_lock(path / "lock")
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(descriptor)
        msg = f"another zoo serves from {path}: stop it, or pass another --data-dir"
        raise LocalError(msg) from error
    return descriptor
