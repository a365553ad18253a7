"""The schema, brought to a revision: up at every start, down by a test."""

from pathlib import Path

from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.runtime.migration import MigrationContext

from service.database.engine import Database
from service.database.tables import Table


def upgrade(database: Database, revision: str = "head") -> None:
    """Bring the schema up to ``revision``, in one transaction."""
    with database.writing() as session:
        command.upgrade(_config(session.connection()), revision)


def downgrade(database: Database, revision: str) -> None:
    """Take the schema down to ``revision``, in one transaction."""
    with database.writing() as session:
        command.downgrade(_config(session.connection()), revision)


def differences(database: Database) -> list[object]:
    """Return where the schema differs from the tables; empty where they agree."""
    with database.reading() as session:
        context = MigrationContext.configure(
            session.connection(), opts={"compare_type": True}
        )
        return list(compare_metadata(context, Table.metadata))


def _config(connection: object) -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    config.attributes["connection"] = connection
    return config
