"""Connections: readers that do not wait, one writer at a time.

ADR 13: why SQLite, and why its writers begin with BEGIN IMMEDIATE.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Self

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.orm import Session, sessionmaker

BUSY_SECONDS = 30
"""How long a writer waits for the one before; ours hold the lock for milliseconds."""


class Database:
    """Sessions for reading and for writing; a writer commits whole or not at all.

    SQLite takes its write lock when a transaction first writes, and by then the rows
    it read may be stale, which it reports as an error that waiting cannot cure.
    Writers therefore begin with BEGIN IMMEDIATE.
    """

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self._readers = sessionmaker(engine)
        # Rows outlive the session that wrote them: routes answer with them.
        self._writers = sessionmaker(
            engine.execution_options(writes=True), expire_on_commit=False
        )

    @classmethod
    def open(cls, url: str) -> Self:
        """Return the database at ``url``; nothing is read before the first session."""
        # More than the 40 threads in which routes run (anyio), and our own beside them:
        # a request waits for the database's lock, never for a connection.
        engine = create_engine(url, pool_size=16, max_overflow=48)
        if engine.dialect.name == "sqlite":
            _prepare_sqlite(engine)
        return cls(engine)

    @contextmanager
    def reading(self) -> Iterator[Session]:
        """Give a session that sees one state of the database."""
        with self._readers() as session:
            yield session

    @contextmanager
    def writing(self) -> Iterator[Session]:
        """Give a session that commits on the way out and rolls back on an error."""
        with self._writers.begin() as session:
            yield session

    def close(self) -> None:
        """Close every connection."""
        self.engine.dispose()


def _prepare_sqlite(engine: Engine) -> None:
    """Let us, not the driver, say when a transaction begins.

    Source:
        SQLAlchemy, "SQLite: transactions with SQLite and the sqlite3 driver".
    """

    @event.listens_for(engine, "connect")
    def _configure(connection: DBAPIConnection, _record: object) -> None:
        driver: Any = connection
        driver.isolation_level = None
        for pragma in (
            "journal_mode=WAL",
            "synchronous=FULL",
            "foreign_keys=ON",
            f"busy_timeout={BUSY_SECONDS * 1000}",
        ):
            driver.execute(f"PRAGMA {pragma}")

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        writes = connection.get_execution_options().get("writes", False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")
