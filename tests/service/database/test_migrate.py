from pathlib import Path

from sqlalchemy import inspect

from service.database.engine import Database
from service.database.migrate import differences, downgrade, upgrade


def tables(database: Database) -> set[str]:
    return set(inspect(database.engine).get_table_names()) - {"alembic_version"}


def test_the_schema_goes_up_down_and_up_again_and_is_the_tables(
    tmp_path: Path,
) -> None:
    database = Database.open(f"sqlite:///{tmp_path / 'zoo.db'}")
    upgrade(database)
    first = tables(database)
    assert "releases" in first
    assert differences(database) == []

    downgrade(database, "base")
    assert tables(database) == set()

    upgrade(database)
    upgrade(database)
    assert tables(database) == first
    assert differences(database) == []
    database.close()


def test_a_difference_between_schema_and_tables_is_seen(tmp_path: Path) -> None:
    database = Database.open(f"sqlite:///{tmp_path / 'zoo.db'}")
    upgrade(database)
    with database.writing() as session:
        session.connection().exec_driver_sql("DROP TABLE workers")
    assert differences(database)
    database.close()
