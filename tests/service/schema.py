"""The schema is migrated once a process; a new zoo begins with a copy of it.

That migrations work, from every revision, is tests/service/database/test_migrate.py's.
"""

import tempfile
from functools import cache
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, event

from service.database.engine import Database
from service.database.migrate import upgrade
from service.storage.data_dir import OWNER_ONLY_FOLDER

NAME = "zoo.db"


class Compiled(dict[tuple[Any, ...], Any]):
    """Statements as SQL: what one engine compiled is not compiled for each next one.

    A key begins with the dialect of an engine; those of one class speak alike.
    """

    def get(self, key: tuple[Any, ...], default: object = None) -> Any:  # noqa: ANN401
        return super().get((type(key[0]), *key[1:]), default)

    def __setitem__(self, key: tuple[Any, ...], value: object) -> None:
        super().__setitem__((type(key[0]), *key[1:]), value)


_COMPILED = Compiled()


@event.listens_for(Engine, "engine_connect")
def _share_what_is_compiled(connection: Connection) -> None:
    connection.execution_options(compiled_cache=_COMPILED)


def prepare(data_dir: Path) -> Path:
    """Return ``data_dir``, which a service would find empty, with an empty database."""
    data_dir.mkdir(parents=True, exist_ok=True, mode=OWNER_ONLY_FOLDER)
    if not any(data_dir.iterdir()):
        (data_dir / NAME).write_bytes(_migrated())
    return data_dir


@cache
def _migrated() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, NAME)
        database = Database.open(f"sqlite:///{path}")
        upgrade(database)
        database.close()
        return path.read_bytes()
