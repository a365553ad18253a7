"""Streams, listings and uploads in numbers that one visitor alone can ask for."""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import event, func, select
from starlette.types import Message

from model_zoo.canonical import JsonObject
from service.api.uploads import MAX_CHECKS
from service.context import Context
from service.database.tables import UploadRow, new_id
from service.jobs.streams import EventStreams, TooManyStreamsError
from service.repository.pending import HeldChange, hold
from service.uploads.sessions import MISSING_SHOWN, complete
from tests.abuse.test_connections import PATIENCE_SECONDS, Served, served, wait_until
from tests.service.zoo import (
    API,
    BUILDER,
    JSON,
    Zoo,
    assert_problem,
    entries,
    open_zoo,
    parse_events,
)

TIB = 1 << 40
MIB = 1024 * 1024
STREAMS = 50
MANY_STATEMENTS = 2000


@contextmanager
def statements(zoo: Zoo) -> Iterator[list[str]]:
    """Give the SQL that the service sends to its database, as it is sent."""
    sent: list[str] = []
    engine = zoo.app.state.context.database.engine

    def note(*told: Any) -> None:  # noqa: ANN401  SQLAlchemy's
        sent.append(told[2])

    event.listen(engine, "before_cursor_execute", note)
    try:
        yield sent
    finally:
        event.remove(engine, "before_cursor_execute", note)


def test_streams_of_a_job_share_one_reader_of_the_database(tmp_path: Path) -> None:
    with open_zoo(
        tmp_path / "zoo", event_poll_seconds=0.001, max_streams_per_job=STREAMS
    ) as zoo:
        zoo.bind()
        job = zoo.submit()["id"]
        with statements(zoo) as sent:
            seen = asyncio.run(watched(zoo, job, sent))
    reads = [statement for statement in sent if "FROM events" in statement]
    assert seen == [["queued", "cancelled"]] * STREAMS
    # One for what there is, one for that there is no more, one for the end.
    assert len(reads) <= 3 * STREAMS


async def watched(zoo: Zoo, job: str, sent: list[str]) -> list[list[str]]:
    """Watch a job by many streams while time passes; return what each of them saw."""
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(app=zoo.app),
        base_url=f"http://127.0.0.1:8000{API}",
        trust_env=False,
        timeout=PATIENCE_SECONDS,
    ) as client:
        streams = [
            asyncio.create_task(client.get(f"/jobs/{job}/events"))
            for _ in range(STREAMS)
        ]
        while len(sent) < MANY_STATEMENTS:  # noqa: ASYNC110  nothing tells of it
            await asyncio.sleep(0.01)
        await client.post(f"/jobs/{job}/cancel", json={})
        answers = await asyncio.gather(*streams)
    assert {answer.status_code for answer in answers} == {200}
    return [[it["event"] for it in parse_events(answer.text)] for answer in answers]


def test_there_are_so_many_streams_of_a_job_and_in_all(tmp_path: Path) -> None:
    with (
        served(tmp_path, max_streams=3, max_streams_per_job=2) as zoo,
        ExitStack() as held,
    ):
        key = {"public_key": BUILDER.public.to_pem()}
        assert zoo.ask("PUT", f"{API}/trainers/lab", json=key).status_code == 201
        first, second = submitted(zoo), submitted(zoo)
        for job in (first, first, second):
            connection = held.enter_context(zoo.connect())
            path = f"{API}/jobs/{job}/events"
            connection.sendall(
                f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode()
            )
            assert connection.recv(4096).startswith(b"HTTP/1.1 200 ")
            refused = (
                zoo.ask(path=f"{API}/jobs/{job}/events") if job == second else None
            )
        assert refused is not None
        assert refused.headers["retry-after"]
        assert_problem(refused, 503, "TransportError")
        assert_problem(
            zoo.ask(path=f"{API}/jobs/{first}/events"), 503, "TransportError"
        )
        unknown = zoo.ask(path=f"{API}/jobs/{'0' * 32}/events")
        assert_problem(unknown, 404, "NotFoundError")
        assert zoo.ask(path=f"{API}/models").status_code == 200
        held.close()
        wait_until(lambda: is_streaming(zoo, first))


def submitted(zoo: Served) -> str:
    body = {"kind": "noop", "trainer": "lab", "spec": {}}
    return str(zoo.ask("POST", f"{API}/jobs", json=body).json()["id"])


def is_streaming(zoo: Served, job: str) -> bool:
    with httpx.stream("GET", f"{zoo.url}{API}/jobs/{job}/events") as answer:
        return bool(answer.status_code == 200)


def test_a_stream_of_one_job_is_refused_when_it_has_enough(tmp_path: Path) -> None:
    with served(tmp_path, max_streams_per_job=1) as zoo, zoo.connect() as connection:
        key = {"public_key": BUILDER.public.to_pem()}
        zoo.ask("PUT", f"{API}/trainers/lab", json=key)
        first, second = submitted(zoo), submitted(zoo)
        path = f"{API}/jobs/{first}/events"
        connection.sendall(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode())
        assert connection.recv(4096).startswith(b"HTTP/1.1 200 ")

        assert_problem(zoo.ask(path=path), 503, "TransportError")
        assert is_streaming(zoo, second)


def test_a_watcher_that_leaves_early_is_no_failure_of_the_service(
    tmp_path: Path,
) -> None:
    with open_zoo(tmp_path / "zoo") as zoo:
        zoo.bind()
        job = zoo.submit()["id"]
        attempt = zoo.leased()["attempt"]
        events = [{"type": "log", "data": {"line": line}} for line in range(64)]
        assert zoo.post(f"/attempts/{attempt}/events", {"events": events}).is_success
        asyncio.run(left_early(zoo, f"{API}/jobs/{job}/events"))


async def left_early(zoo: Zoo, path: str) -> None:
    """Ask for a stream as a server does, and leave when its first event comes."""
    asked, told = asyncio.Event(), asyncio.Event()

    async def receive() -> Message:
        if not asked.is_set():
            asked.set()
            return {"type": "http.request", "body": b""}
        await told.wait()
        for _ in range(100):  # until whatever lies between is full of the next events
            await asyncio.sleep(0)
        return {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        if message["type"] == "http.response.body":
            told.set()
            await asyncio.Event().wait()  # nobody reads any more

    scope = {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": "GET",
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "root_path": "",
        "headers": [(b"host", b"127.0.0.1:8000")],
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 8000),
    }
    await zoo.app(scope, receive, send)


def test_a_stream_in_which_nothing_happens_is_kept_alive(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.jobs.streams.QUIET_SECONDS", 0.01)
    with served(tmp_path) as zoo:
        key = {"public_key": BUILDER.public.to_pem()}
        zoo.ask("PUT", f"{API}/trainers/lab", json=key)
        path = f"{API}/jobs/{submitted(zoo)}/events"
        with httpx.stream(
            "GET", zoo.url + path, trust_env=False, timeout=PATIENCE_SECONDS
        ) as answer:
            lines = answer.iter_lines()
            assert next(lines) == "event: queued"
            while next(lines) != ": ping":
                pass


def test_what_one_visitor_may_take_is_bounded_unless_the_operator_says_more(
    tmp_path: Path,
) -> None:
    with open_zoo(tmp_path / "zoo") as zoo:
        zoo.bind()
        settings = zoo.app.state.context.settings
        assert settings.max_connections == 1000
        jobs = [zoo.submit()["id"] for _ in range(5)]
        assert asyncio.run(places(zoo, jobs)) == [64, 64, 64, 64, 0]

        waiting_for(zoo, 999)
        body = {"files": entries({"card.json": JSON})}
        for _ in range(2):
            assert zoo.post("/uploads", body).status_code == 201
        with zoo.app.state.context.database.reading() as session:
            assert session.scalar(select(func.count()).select_from(UploadRow)) == 1000


async def places(zoo: Zoo, jobs: list[str]) -> list[int]:
    """Take all the places for streams that there are; return how many of each job."""
    streams: EventStreams = zoo.app.state.streams
    taken = dict.fromkeys(jobs, 0)
    with ExitStack() as held:
        for job in jobs:
            with suppress(TooManyStreamsError):
                for _ in range(1000):
                    held.enter_context(streams.place(job))
                    taken[job] += 1
    return list(taken.values())


def waiting_for(zoo: Zoo, count: int) -> None:
    """Have so many uploads wait to be completed."""
    context: Context = zoo.app.state.context
    with context.database.writing() as session:
        session.add_all(
            UploadRow(id=new_id(), state="open", active_at=context.now(), files=[])
            for _ in range(count)
        )


@pytest.mark.parametrize("ahead", [0, 5])
def test_a_stream_that_is_taken_up_after_its_last_event_ends(
    tmp_path: Path, ahead: int
) -> None:
    with served(tmp_path, max_streams_per_job=1) as zoo:
        key = {"public_key": BUILDER.public.to_pem()}
        zoo.ask("PUT", f"{API}/trainers/lab", json=key)
        job = submitted(zoo)
        zoo.ask("POST", f"{API}/jobs/{job}/cancel", json={})
        path = f"{API}/jobs/{job}/events"
        last = parse_events(zoo.ask(path=path).text)[-1]["id"]
        again = {"Last-Event-ID": str(int(last) + ahead)}
        answer = httpx.get(zoo.url + path, headers=again, timeout=10, trust_env=False)
        assert parse_events(answer.text) == []


def test_a_declaration_of_a_tebibyte_costs_no_more_than_it_sent(tmp_path: Path) -> None:
    with open_zoo(tmp_path / "zoo", part_bytes=8 * MIB) as zoo:
        files = [
            {"name": f"{number}.json", "size_bytes": TIB // 256, "sha256": "0" * 64}
            for number in range(256)
        ]
        declared = zoo.post("/uploads", {"files": files})
        upload = declared.json()
        shown = zoo.get(f"/uploads/{upload['id']}")

    assert declared.status_code == 201, declared.text
    for file in upload["files"]:
        assert file["parts"] == TIB // 256 // (8 * MIB)
        assert file["missing"] == list(range(MISSING_SHOWN))
    assert len(shown.content) < 256 * 1024


@pytest.mark.parametrize("size", [TIB, TIB - 1])
def test_one_file_of_a_tebibyte_names_its_first_parts(
    tmp_path: Path, size: int
) -> None:
    with open_zoo(tmp_path / "zoo", part_bytes=8 * MIB) as zoo:
        files = [{"name": "card.json", "size_bytes": size, "sha256": "0" * 64}]
        upload = zoo.post("/uploads", {"files": files}).json()
        done = zoo.post(f"/uploads/{upload['id']}/complete")

    assert upload["files"][0]["missing"] == list(range(MISSING_SHOWN))
    assert_problem(done, 422, "LengthMismatchError")


@pytest.fixture
def zoo(tmp_path: Path) -> Iterator[Zoo]:
    with open_zoo(tmp_path / "zoo") as opened:
        opened.bind()
        yield opened


def test_a_file_of_many_parts_arrives_though_few_are_named_at_a_time(
    zoo: Zoo,
) -> None:
    data = b'{"note": "' + b"x" * (3 * MISSING_SHOWN * 64) + b'"}'
    upload = zoo.declare({"card.json": data}).json()
    rounds = 0
    while upload["files"][0]["missing"]:
        zoo.send_parts(upload, {"card.json": data})
        upload = zoo.get(f"/uploads/{upload['id']}").json()
        rounds += 1
    assert rounds == 4
    assert zoo.post(f"/uploads/{upload['id']}/complete").status_code == 200


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Zoo]:
    """Give a zoo in which three uploads may wait to be used."""
    with open_zoo(tmp_path / "zoo", max_open_uploads=3) as opened:
        opened.bind()
        yield opened


def declared(zoo: Zoo) -> dict[str, Any]:
    """Declare a tiny file, a second after whatever was before."""
    zoo.clock.advance(1)
    answer = zoo.declare({"card.json": JSON})
    assert answer.status_code == 201, answer.text
    return dict(answer.json())


def is_there(zoo: Zoo, upload: str) -> bool:
    context = zoo.app.state.context
    known = zoo.get(f"/uploads/{upload}").status_code == 200
    assert known or not (context.uploads_folder / upload).exists()
    return known


def test_declarations_that_nobody_fills_shut_nobody_out(small: Zoo) -> None:
    idle = [declared(small)["id"] for _ in range(50)]

    assert [it for it in idle if is_there(small, it)] == idle[-3:]
    small.published("alice/digits@1", {"card.json": JSON})


def test_an_upload_that_goes_on_outlives_those_that_do_not(small: Zoo) -> None:
    data = b'{"note": "' + b"x" * 1000 + b'"}'
    mine = small.declare({"card.json": data}).json()
    idle = []
    while mine["files"][0]["missing"]:
        number = mine["files"][0]["missing"][0]
        part = data[number * 64 : (number + 1) * 64]
        idle += [declared(small)["id"] for _ in range(2)]
        small.clock.advance(1)
        assert small.send_part(mine["id"], "card.json", number, part).is_success
        mine = small.get(f"/uploads/{mine['id']}").json()
    assert small.post(f"/uploads/{mine['id']}/complete").is_success
    idle += [declared(small)["id"] for _ in range(2)]

    assert is_there(small, mine["id"])
    assert [it for it in idle if is_there(small, it)] == idle[-2:]


def test_completed_uploads_that_nobody_uses_shut_nobody_out(small: Zoo) -> None:
    idle = []
    for _ in range(4):
        idle.append(small.upload({"card.json": JSON}))
        small.clock.advance(1)

    assert [it for it in idle if is_there(small, it)] == idle[1:]
    assert is_there(small, declared(small)["id"])


def test_what_a_release_or_a_waiting_one_consists_of_makes_no_room(small: Zoo) -> None:
    small.published("alice/digits@1", {"card.json": JSON})
    [published] = (row.id for row in stored_uploads(small))
    waiting = small.upload({"card.json": JSON})
    body: JsonObject = {
        "upload": waiting,
        "envelope": {},
        "provenance": None,
        "roles": {},
    }
    context = small.app.state.context
    with context.database.writing() as session:
        change = HeldChange(kind="release", name="alice/digits@2", body=body)
        hold(session, context, change)
    for _ in range(4):
        declared(small)

    assert is_there(small, published)
    assert is_there(small, waiting)


def stored_uploads(zoo: Zoo) -> list[UploadRow]:
    with zoo.app.state.context.database.reading() as session:
        return list(session.scalars(select(UploadRow)))


def test_uploads_that_are_checked_leave_threads_for_others(
    zoo: Zoo, monkeypatch: pytest.MonkeyPatch
) -> None:
    release = threading.Event()
    begun: list[str] = []

    def check(context: Context, upload_id: str) -> UploadRow:
        begun.append(upload_id)
        release.wait(PATIENCE_SECONDS)
        return complete(context, upload_id)

    monkeypatch.setattr("service.api.uploads.complete", check)
    upload = zoo.declare({"result.json": JSON}).json()
    zoo.send_parts(upload, {"result.json": JSON})
    asyncio.run(completed_often(zoo, upload["id"], begun, release))
    assert len(begun) == STREAMS


async def completed_often(
    zoo: Zoo, upload: str, begun: list[str], release: threading.Event
) -> None:
    """Complete an upload many times at once; ask for something else meanwhile."""
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(app=zoo.app),
        base_url="http://127.0.0.1:8000",
        trust_env=False,
    ) as client:
        path = f"{API}/uploads/{upload}/complete"
        asked = [asyncio.create_task(client.post(path)) for _ in range(STREAMS)]
        while not begun:  # noqa: ASYNC110  nothing tells of it
            await asyncio.sleep(0.01)
        try:
            await asyncio.sleep(0.5)
            assert len(begun) == MAX_CHECKS
            answer = await asyncio.wait_for(client.get("/healthz"), PATIENCE_SECONDS)
            assert answer.status_code == 200
        finally:
            release.set()
        assert {it.status_code for it in await asyncio.gather(*asked)} == {200}


def test_a_list_of_jobs_costs_as_many_statements_as_a_short_one(zoo: Zoo) -> None:
    counts = []
    for wanted in (1, 20):
        while len(zoo.get("/jobs").json()["items"]) < wanted:
            zoo.submit()
        with statements(zoo) as sent:
            assert zoo.get("/jobs").status_code == 200
        counts.append(len(sent))
    assert counts[0] == counts[1]
