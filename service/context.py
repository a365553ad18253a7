"""What the operations share: settings, database, blobs, keys.

ADR 13: one service at a time works on a data folder.
"""

import os
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from sqlalchemy.exc import DatabaseError

from model_zoo.errors import LocalError, NotPermittedError
from model_zoo.http.hosts import is_loopback
from model_zoo.tuf.online import ROOT_FILE
from service.database.engine import Database
from service.database.migrate import upgrade
from service.settings import Settings
from service.storage.blobs import Blobs, FolderBlobs, translate_errors
from service.storage.data_dir import lock_data_dir, lock_keys
from service.storage.high_water_mark import SERVED_FILE, HighWaterMark
from service.storage.online_keys import OnlineKeys, open_keys


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """An opened data folder: hold it as long as the service lives, then close it.

    ``served`` is the newest state that a client may have seen, ``locks`` are on the
    folder of data and on that of keys.
    """

    settings: Settings
    database: Database
    blobs: Blobs
    keys: OnlineKeys
    served: HighWaterMark
    locks: tuple[int, ...]

    def now(self) -> datetime:
        """Return the present as the settings' clock has it."""
        return self.settings.clock()

    @property
    def uploads_folder(self) -> Path:
        """Where the parts of open uploads wait."""
        return self.settings.data_dir / "uploads"

    def close(self) -> None:
        """Let another service use the data folder and the keys."""
        self.database.close()
        for lock in self.locks:
            os.close(lock)


def open_context(settings: Settings) -> Context:
    """Lock data and keys, bring the schema up to date and return the context.

    Raises:
        LocalError: a folder cannot be used: in use, unwritable or full.
    """
    folder = settings.data_dir
    blobs = FolderBlobs(folder / "blobs")
    with ExitStack() as undone:
        data_lock = lock_data_dir(folder)
        undone.callback(os.close, data_lock)
        with translate_errors(f"cannot use data folder {folder}"):
            (folder / "uploads").mkdir(exist_ok=True)
            blobs.make()
        database = Database.open(f"sqlite:///{folder / 'zoo.db'}")
        undone.callback(database.close)
        try:
            upgrade(database)
        except DatabaseError as error:
            msg = f"cannot use the database in {folder}: {error.orig}"
            raise LocalError(msg) from error
        if settings.trust_dir and not (settings.trust_dir / ROOT_FILE).exists():
            msg = f"{settings.trust_dir}: no {ROOT_FILE} there; see zoo trust init"
            raise LocalError(msg)
        keys = open_keys(settings.trust_dir or folder / "trust", now=settings.clock())
        require_root_fits(keys, settings)
        keys_lock = lock_keys(keys.folder)
        undone.callback(os.close, keys_lock)
        served = HighWaterMark(keys.folder / SERVED_FILE)
        undone.pop_all()  # from here on close() does it
    return Context(
        settings=settings,
        database=database,
        blobs=blobs,
        keys=keys,
        served=served,
        locks=(data_lock, keys_lock),
    )


def require_root_fits(keys: OnlineKeys, settings: Settings) -> None:
    """Refuse to show a development root to other machines.

    Raises:
        NotPermittedError: the root is one, and the host is not loopback.
    """
    if keys.is_development and not is_loopback(settings.host):
        msg = (
            f"{settings.host} can be reached from other machines, and this zoo has a "
            "development root whose keys all lie on this disk: make a real one with "
            "zoo trust init and pass --trust-dir"
        )
        raise NotPermittedError(msg)
