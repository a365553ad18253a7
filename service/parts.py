"""What the operations share: settings, database, blobs."""

import os
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from sqlalchemy.exc import OperationalError

from model_zoo.errors import LocalError
from service.data_dir import lock_data_dir
from service.database.engine import Database
from service.database.migrate import upgrade
from service.settings import Settings
from service.storage import BlobStore, told_as_local_error


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """An opened data folder: hold it as long as the service lives, then close it."""

    settings: Settings
    database: Database
    blobs: BlobStore
    lock: int

    def now(self) -> datetime:
        """Return the present as the settings' clock has it."""
        return self.settings.clock()

    @property
    def uploads_folder(self) -> Path:
        """Where the parts of open uploads wait."""
        return self.settings.data_dir / "uploads"

    def close(self) -> None:
        """Let another service use the data folder."""
        self.database.close()
        os.close(self.lock)


def open_parts(settings: Settings) -> Parts:
    """Lock the data folder, bring its schema up to date and return the parts.

    Raises:
        LocalError: the folder cannot be used: in use, unwritable or full.
    """
    lock = lock_data_dir(settings.data_dir)
    try:
        database = Database.open(f"sqlite:///{settings.data_dir / 'zoo.db'}")
        with told_as_local_error(f"cannot use data folder {settings.data_dir}"):
            (settings.data_dir / "uploads").mkdir(exist_ok=True)
            (settings.data_dir / "blobs" / "sha256").mkdir(parents=True, exist_ok=True)
        upgrade(database)
    except OperationalError as error:
        os.close(lock)
        msg = f"cannot use the database in {settings.data_dir}: {error.orig}"
        raise LocalError(msg) from error
    except LocalError:
        os.close(lock)
        raise
    return Parts(
        settings=settings,
        database=database,
        blobs=BlobStore(settings.data_dir / "blobs"),
        lock=lock,
    )
