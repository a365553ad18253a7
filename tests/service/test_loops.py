"""What runs beside the requests: each by itself, told of, and going on."""

import asyncio
import logging
import shutil
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import httpx
import pytest

from model_zoo.errors import LocalError
from service.loops import Loop, running
from tests.model_zoo.servers import NO_AUTHORITY
from tests.model_zoo.servers import open_zoo as served
from tests.service.zoo import Clock, open_zoo

HALF_A_LIFE_SECONDS = 13 * 3600


@pytest.fixture
def folder(bound_folder: Path, tmp_path: Path) -> Path:
    """A data folder with one attempt under way."""
    shutil.copytree(bound_folder, tmp_path / "zoo")
    with open_zoo(tmp_path / "zoo") as zoo:
        zoo.submit()
        zoo.leased()
    return tmp_path / "zoo"


@contextmanager
def database(folder: Path) -> Iterator[sqlite3.Connection]:
    opened = closing(sqlite3.connect(folder / "zoo.db", timeout=30))
    with opened as connection, connection:
        yield connection


def wait_until(holds: Callable[[], bool]) -> None:
    """Return once it holds; the limit on a test's time is the only one."""
    while not holds():
        time.sleep(0.05)


def ready(url: str) -> tuple[int, dict[str, dict[str, object]]]:
    answer = httpx.get(
        f"{url}/readyz", trust_env=False, timeout=60, verify=NO_AUTHORITY
    )
    return answer.status_code, answer.json()["loops"]


def timestamp(url: str) -> bytes:
    answer = httpx.get(
        f"{url}/tuf/metadata/timestamp.json", trust_env=False, verify=NO_AUTHORITY
    )
    return answer.content


def test_a_loop_that_fails_ends_no_other_and_is_told_and_recovers(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    clock = Clock()
    with served(folder, clock=clock) as url:
        wait_until(lambda: all(it["succeeded_at"] for it in ready(url)[1].values()))
        assert ready(url)[0] == 200
        before = timestamp(url)
        with database(folder) as connection:  # a row that nobody can read
            connection.execute("UPDATE attempts SET lease_until = '0 broken'")

        wait_until(lambda: ready(url)[0] == 503)
        loops = ready(url)[1]
        assert loops["reap"]["error"] == "ValueError"
        assert loops["renew"]["failures"] == loops["warn"]["failures"] == 0
        assert "lease_until" not in str(loops)

        clock.advance(HALF_A_LIFE_SECONDS)
        wait_until(lambda: timestamp(url) != before)  # renewed all the same

        with database(folder) as connection:
            connection.execute("UPDATE attempts SET lease_until = '2020-01-01'")
        wait_until(lambda: ready(url)[0] == 200)
        assert ready(url)[1]["reap"]["failures"] == 0

    (first, *_) = (it for it in caplog.records if it.name == "service.loops")
    assert first.levelno == logging.ERROR
    assert first.exc_info is not None


def test_what_cannot_be_renewed_is_told_and_leases_still_run_out(folder: Path) -> None:
    clock = Clock()
    with served(folder, clock=clock) as url:
        with database(folder) as connection:
            (kept,) = connection.execute(
                "SELECT data FROM trust_metadata WHERE role = 'timestamp'"
                " ORDER BY version DESC LIMIT 1"
            ).fetchone()
            connection.execute(
                "UPDATE trust_metadata SET data = '{}' WHERE role = 'timestamp'"
            )
        wait_until(lambda: ready(url)[1]["renew"]["failures"] != 0)
        assert ready(url)[1]["renew"]["error"] == "KeyError"
        assert ready(url)[0] == 503

        clock.advance(HALF_A_LIFE_SECONDS)
        with database(folder) as connection:
            is_lost = "SELECT state FROM attempts"
            wait_until(lambda: connection.execute(is_lost).fetchone() == ("lost",))
            connection.execute(
                "UPDATE trust_metadata SET data = ? WHERE role = 'timestamp'", (kept,)
            )
        wait_until(lambda: ready(url)[0] == 200)


RAISED = [KeyError, OSError, RuntimeError, AssertionError, MemoryError, LocalError]


@pytest.mark.parametrize("error", RAISED)
def test_whatever_a_loop_raises_it_is_told_and_goes_on_and_so_do_the_others(
    error: type[Exception],
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("service.loops.LONGEST_PAUSE_SECONDS", 0.01)
    due = iter([error("once"), error("twice")])
    done: list[str] = []

    def fail_at_first() -> None:
        seen.append((first.failures, first.error))
        raised = next(due, None)
        if raised is not None:
            raise raised
        done.append("first")

    first = Loop(name="first", act=fail_at_first, every_seconds=0)
    other = Loop(name="other", act=lambda: done.append("other"), every_seconds=0)
    seen: list[tuple[int, str | None]] = []

    async def watched() -> None:
        async with running([first, other], clock=Clock()):
            while len(seen) < 4 and done.count("other") < 5000:  # noqa: ASYNC110  threads do it
                await asyncio.sleep(0.001)

    asyncio.run(watched())
    name = error.__name__
    assert seen[:4] == [(0, None), (1, name), (2, name), (0, None)]
    assert done.count("first") > 0
    assert (other.failures, other.error) == (0, None)
    assert [it.levelno for it in caplog.records] == [logging.ERROR] * 2
