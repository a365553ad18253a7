"""Server-sent events: parsed however they are cut, followed across broken lines."""

import itertools
from http.server import BaseHTTPRequestHandler

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model_zoo.errors import MalformedDocumentError, TransportError, ZooError
from model_zoo.http import sse as events
from model_zoo.http.server import Server
from model_zoo.http.sse import MAX_LINE_BYTES, follow, parse_events
from model_zoo.http.transport import Transport
from tests.model_zoo.servers import answering, respond

JOB = "0" * 32
STREAM = (
    b": ping\n\n"
    b'id: 1\nevent: started\ndata: {"number": 1}\n\n'
    b'id: 2\r\nevent: progress\r\ndata: {"epoch":\r\ndata: 1}\r\n\r\n'
    b"retry: 500\n\n"
    b"id: 3\nevent: succeeded\ndata: {}\n\n"
)


@given(cuts=st.lists(st.integers(0, len(STREAM)), max_size=20))
def test_a_stream_is_the_same_events_however_it_is_cut(cuts: list[int]) -> None:
    edges = [0, *sorted(cuts), len(STREAM)]
    pieces = [STREAM[a:b] for a, b in itertools.pairwise(edges)]
    found = [(event.sequence, event.type, event.data) for event in parse_events(pieces)]
    assert found == [
        (1, "started", {"number": 1}),
        (2, "progress", {"epoch": 1}),
        (3, "succeeded", {}),
    ]


@pytest.mark.parametrize(
    ("stream", "told"),
    [
        (b"data: {}\n\n", "without a sequence number"),
        (b"id: -1\ndata: {}\n\n", "without a sequence number"),
        (b"id: " + b"9" * 99 + b"\ndata: {}\n\n", "without a sequence number"),
        (b"id: 1\ndata: []\n\n", "expected a JSON object"),
        (b"id: 1\ndata: {\n\n", "event 1"),
        (b"a: b\n" * 100, "more than 64 lines"),
        (b"data: " + b"x" * MAX_LINE_BYTES, "event line of more than"),
    ],
)
def test_what_is_no_event_is_refused(stream: bytes, told: str) -> None:
    with pytest.raises(MalformedDocumentError, match=told):
        list(parse_events([stream]))


@given(st.lists(st.binary(max_size=60), max_size=6))
def test_any_bytes_are_events_or_a_told_refusal(pieces: list[bytes]) -> None:
    try:
        list(parse_events(pieces))
    except MalformedDocumentError:
        return


@given(
    st.lists(st.sampled_from(["id: 1\n", "data: {}\n", "event: \ud7ff\n", "\n", "id:"]))
)
def test_any_lines_are_events_or_a_told_refusal(lines: list[str]) -> None:
    try:
        list(parse_events([line.encode() for line in lines]))
    except MalformedDocumentError:
        return


def test_a_broken_connection_is_taken_up_after_the_last_event(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(events, "PAUSE_SECONDS", 0.0)
    asked = []

    def answer(request: BaseHTTPRequestHandler) -> None:
        after = request.headers.get("Last-Event-ID")
        asked.append(after)
        body = STREAM[: 60 if after is None else len(STREAM)]
        respond(request, body, length=len(STREAM))

    with answering(answer) as url, Transport(Server(url)) as transport:
        found = [event.sequence for event in follow(transport, JOB)]
    assert found == [1, 2, 3]
    assert asked == [None, "1"]


@pytest.mark.parametrize("length", [None, 100])
def test_a_story_without_an_end_is_given_up(
    monkeypatch: pytest.MonkeyPatch, length: int | None
) -> None:
    monkeypatch.setattr(events, "PAUSE_SECONDS", 0.0)
    asked = []

    def answer(request: BaseHTTPRequestHandler) -> None:
        asked.append(request.path)
        respond(request, b": ping\n\n", length=length)

    with (
        answering(answer) as url,
        Transport(Server(url)) as transport,
        pytest.raises(TransportError),
    ):
        list(follow(transport, JOB))
    assert len(asked) == events.RECONNECTS + 1


def test_a_refusal_is_told_at_once() -> None:
    def answer(request: BaseHTTPRequestHandler) -> None:
        respond(request, b"{}", status=404)

    with (
        answering(answer) as url,
        Transport(Server(url)) as transport,
        pytest.raises(ZooError, match="404"),
    ):
        list(follow(transport, JOB))
