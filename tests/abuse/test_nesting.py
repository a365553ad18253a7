"""JSON that is nested deeper than anybody needs is refused at every door."""

import json
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from httpx import Response

from model_zoo.canonical import MAX_DEPTH, parse_object
from model_zoo.errors import VerificationError
from model_zoo.formats.safetensors import read_header
from model_zoo.http.client import MAX_RESPONSE_BYTES
from model_zoo.http.server import Server
from model_zoo.http.sse import parse_events as parse_stream
from model_zoo.http.transport import Transport
from model_zoo.statements.dsse import Envelope
from model_zoo.statements.policy import Policy
from model_zoo.statements.release_json import parse_bundle
from model_zoo.transparency.tlog import LogEntry
from model_zoo.tuf.revocations import YankNotice
from model_zoo.tuf.roles import parse
from model_zoo.tuf.trusted_keys import TrustedKeys
from model_zoo.tuf.updater import refreshed
from service.http.guards import MAX_BODY_DEPTH
from tests.model_zoo.servers import answering, respond
from tests.service.zoo import Clock, Zoo, assert_problem, open_zoo

DEPTHS = [MAX_DEPTH + 1, 400, 900, 100_000]
LIMIT = 1 << 20


@pytest.fixture
def zoo(tmp_path: Path) -> Iterator[Zoo]:
    with open_zoo(tmp_path / "zoo") as opened:
        opened.bind()
        yield opened


def nested(depth: int) -> str:
    """Return lists in lists, so many of them."""
    return "[" * depth + "]" * depth


def send(zoo: Zoo, method: str, path: str, body: str | bytes) -> Response:
    headers = {"Content-Type": "application/json"}
    return zoo.ask(method, path, content=body, headers=headers)


def json_routes(zoo: Zoo) -> list[tuple[str, str]]:
    """Return every route that reads JSON, its path filled in."""
    paths = zoo.get("/openapi.json").json()["paths"]
    return [
        (method.upper(), path.replace("{", "").replace("}", ""))
        for path, operations in paths.items()
        for method, operation in operations.items()
        if "application/json" in operation.get("requestBody", {}).get("content", {})
    ]


@pytest.mark.parametrize("depth", [MAX_BODY_DEPTH + 1, 400, 900, 100_000])
def test_every_route_refuses_a_body_nested_too_deep(zoo: Zoo, depth: int) -> None:
    routes = json_routes(zoo)
    assert len(routes) > 12
    for method, path in routes:
        for body in (
            nested(depth),
            f'{{"a": {nested(depth - 1)}}}',
            f'{{"\\"[": "]", "a": {nested(depth - 1)}, "b": "]}}"}}',
        ):
            response = send(zoo, method, path, body)
            problem = assert_problem(response, 400, "InvalidSpecError")
            assert "nested" in problem["detail"], path


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-32-be", "latin-1"])
def test_a_body_in_another_encoding_is_refused(zoo: Zoo, encoding: str) -> None:
    # In UTF-16 the bytes of a letter such as U+2200 look like quotation marks.
    quotes = "\xff" if encoding == "latin-1" else "\u2200\u0022"
    text = f'{{"a": "{quotes[0]}", "b": {nested(400)}}}'
    body = text.encode(encoding)
    for method, path in json_routes(zoo):
        problem = assert_problem(send(zoo, method, path, body), 400, "InvalidSpecError")
        assert "UTF-8" in problem["detail"]


@pytest.mark.parametrize("depth", [300, 400, 900])
def test_what_a_worker_sends_never_breaks_the_reading_of_jobs(
    zoo: Zoo, depth: int
) -> None:
    job = zoo.submit()
    lease = zoo.leased()
    attempt = f"/attempts/{lease['attempt']}"
    deep = f'{{"a": {nested(depth)}}}'
    completion = json.dumps(zoo.completion(lease)).replace(
        '"claimed_evaluation": null', f'"claimed_evaluation": {deep}'
    )
    for path, body in (
        (f"{attempt}/events", f'{{"events": [{{"type": "log", "data": {deep}}}]}}'),
        (f"{attempt}/complete", completion),
        ("/jobs", f'{{"kind": "noop", "trainer": "lab", "spec": {deep}}}'),
    ):
        assert_problem(send(zoo, "POST", path, body), 400, "InvalidSpecError")

    assert zoo.get("/jobs").status_code == 200
    assert zoo.complete(lease).status_code == 200
    assert [event["event"] for event in zoo.events(job["id"])][-1] == "succeeded"


def test_the_deepest_that_a_worker_may_send_can_be_read_by_everybody(
    zoo: Zoo,
) -> None:
    job = zoo.submit()
    lease = zoo.leased()
    attempt = f"/attempts/{lease['attempt']}"
    events = '{"events": [{"type": "log", "data": {"a": %s}}]}'
    told = send(zoo, "POST", f"{attempt}/events", events % nested(MAX_BODY_DEPTH - 4))
    assert told.status_code == 204
    completion = zoo.completion(lease)
    claimed = f'{{"a": {nested(MAX_BODY_DEPTH - 2)}}}'
    completion["claimed_evaluation"] = json.loads(claimed)
    assert zoo.complete(lease, completion).status_code == 200

    listed = zoo.get("/jobs")
    parse_object(listed.content, limit_bytes=MAX_RESPONSE_BYTES)
    stream = zoo.get(f"/jobs/{job['id']}/events")
    assert len(list(parse_stream([stream.content]))) > 2


def _safetensors(data: bytes) -> object:
    framed = len(data).to_bytes(8, "little") + data
    return read_header(BytesIO(framed), size_bytes=len(framed))


DOORS: dict[str, Callable[[bytes], object]] = {
    "any object": lambda data: parse_object(data, limit_bytes=LIMIT),
    "an envelope": Envelope.from_bytes,
    "metadata": lambda data: parse(data, Any),  # type: ignore[type-var]
    "a log's entry": lambda data: LogEntry.from_bytes(data, limit_bytes=LIMIT),
    "a policy": lambda data: Policy.from_bytes(data, limit_bytes=LIMIT),
    "trusted keys": TrustedKeys.read,
    "a notice": YankNotice.read,
    "a bundle": parse_bundle,
    "a header of weights": _safetensors,
    "an event": lambda data: list(parse_stream([b"id: 1\ndata: ", data, b"\n\n"])),
}


@pytest.mark.parametrize("depth", DEPTHS)
@pytest.mark.parametrize("door", DOORS)
def test_every_reader_of_documents_refuses_deep_ones(door: str, depth: int) -> None:
    data = f'{{"a": {nested(depth)}}}'.encode()
    with pytest.raises(
        (ValueError, VerificationError), match=r"nested|at most|event line"
    ):
        DOORS[door](data)


@pytest.mark.parametrize("depth", DEPTHS)
def test_an_answer_nested_too_deep_is_refused_by_the_client(depth: int) -> None:
    data = f'{{"a": {nested(depth)}}}'.encode()
    with (
        answering(lambda request: respond(request, data)) as url,
        Transport(Server(url)) as transport,
        pytest.raises(VerificationError, match="nested"),
    ):
        transport.get("/jobs")


@pytest.mark.parametrize("depth", DEPTHS)
@pytest.mark.parametrize("where", ["signed", "beside"])
def test_metadata_nested_too_deep_is_refused_by_the_client(
    zoo: Zoo, tmp_path: Path, depth: int, where: str
) -> None:
    pinned = zoo.app.state.context.keys.root
    following = json.loads(pinned)
    following["signed"]["version"] = 2
    place = following["signed"] if where == "signed" else following
    place["deep"] = "HERE"
    data = json.dumps(following).replace('"HERE"', nested(depth)).encode()
    with (
        answering(lambda request: respond(request, data)) as url,
        pytest.raises(VerificationError),
        refreshed(Server(url), pinned, cache=tmp_path / "seen", now=Clock().now),
    ):
        pass
