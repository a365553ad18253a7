"""What a malicious mirror can do with an answer, each a function that wraps another."""

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from http import HTTPStatus

import httpx

from model_zoo.digests import sha256_bytes
from model_zoo.http.server import Server
from trainer.lab.actors.malicious_mirror import Answer, Attrition, Question, Responder
from trainer.lab.actors.processes import WATCHDOG_SECONDS

PASSED_BACK = (
    "Content-Length",
    "Content-Range",
    "Content-Type",
    "ETag",
    "X-Repo-Commit",
    "X-Error-Code",
)
"""What of the zoo's headers its clients look at."""
ENDLESS_PIECE = bytes(64 * 1024)
ENDLESS_PIECES = 1024
"""64 MiB: a hundred times the honest weights, and more than sockets hold unread."""
DRIP_SECONDS = 0.25
DRIPS = 600
"""At no less than DRIP_SECONDS each: weights so slow are left after 40 seconds."""
CHUNKED = {"Transfer-Encoding": "chunked"}
EMPTY_CHUNK = b"0\r\n"
"""The last chunk; what follows are trailers."""
ONE_BYTE_CHUNK = b"1;" + b"x" * 60_000 + b"\r\n \r\n"
INTERIM = b"HTTP/1.1 100 Continue\r\n\r\n"


@contextmanager
def passing_on(server: Server) -> Iterator[Responder]:
    """Yield the responder of an honest mirror of ``server``."""
    with httpx.Client(
        base_url=server.url,
        headers=server.headers,
        verify=server.tls(),
        timeout=WATCHDOG_SECONDS,
        trust_env=False,
    ) as upstream:

        def behave(question: Question) -> Answer:
            answer = upstream.request(
                question.method, question.path, headers=dict(question.headers)
            )
            headers = {
                name: answer.headers[name]
                for name in PASSED_BACK
                if name in answer.headers
            }
            return Answer(
                status=answer.status_code, headers=headers, body=answer.content
            )

        yield behave


def absent(_: Question) -> Answer:
    """Have nothing."""
    return Answer(status=HTTPStatus.NOT_FOUND, headers={"Content-Length": "0"})


def overlaid(files: Mapping[str, bytes], then: Responder) -> Responder:
    """Answer with ``files``, by path, where there is one."""

    def behave(question: Question) -> Answer:
        data = files.get(question.path)
        return then(question) if data is None else _whole(data)

    return behave


def recording(archive: dict[str, Answer], then: Responder) -> Responder:
    """Keep a copy of every answer."""
    lock = threading.Lock()

    def behave(question: Question) -> Answer:
        answer = then(question)
        with lock:
            archive[f"{question.method} {question.path}"] = answer
        return answer

    return behave


def replaying(archive: Mapping[str, Answer], then: Responder = absent) -> Responder:
    """Answer as the archive has it, whatever was asked in between."""

    def behave(question: Question) -> Answer:
        key = f"{question.method} {question.path}"
        return archive[key] if key in archive else then(question)

    return behave


def swapped(weights: bytes, then: Responder) -> Responder:
    """Answer every question for weights with ``weights``, lengths and all."""

    def behave(question: Question) -> Answer:
        if not question.is_for_weights:
            return then(question)
        # Not for the range that a visitor wants: the answer is the whole file.
        answer = then(replace(question, headers={}))
        if answer.status != HTTPStatus.OK:
            return answer
        kept = dict(answer.headers) | {"Content-Length": str(len(weights))}
        return Answer(headers=kept, body=weights)

    return behave


def longer(weights: bytes, then: Responder) -> Responder:
    """Announce nothing, or the true length where only that is asked, and send more."""

    def behave(question: Question) -> Answer:
        answer = then(question)
        if not _is_read(question, answer):
            return answer
        return Answer(headers=_without_length(answer), body=weights)

    return behave


def endless(then: Responder, attrition: Attrition) -> Responder:
    """Begin to send weights, and go on until ENDLESS_PIECES were taken."""
    pieces = [ENDLESS_PIECE] * ENDLESS_PIECES

    def behave(question: Question) -> Answer:
        answer = absent(question) if attrition.outlasted else then(question)
        if not _is_read(question, answer):
            return answer
        return Answer(headers=_without_length(answer), body=lasting(pieces, attrition))

    return behave


def dripping(then: Responder, attrition: Attrition) -> Responder:
    """Send the true weights, a byte at a time, too often for a timeout to notice."""

    def drops(body: bytes) -> Iterator[bytes]:
        for number in range(min(len(body), DRIPS)):
            yield body[number : number + 1]
            time.sleep(DRIP_SECONDS)

    def behave(question: Question) -> Answer:
        answer = absent(question) if attrition.outlasted else then(question)
        if not _is_read(question, answer):
            return answer
        return replace(answer, body=lasting(drops(answer.whole), attrition))

    return behave


def lasting(pieces: Iterable[bytes], attrition: Attrition) -> Iterator[bytes]:
    """Yield all of ``pieces``; who took the last one was outlasted.

    A victim that hangs up ends the iteration before that.
    """
    yield from pieces
    attrition.outlasted = True


def kept(
    by: Callable[[], Answer],
    then: Responder,
    attrition: Attrition,
    *,
    asked: Callable[[Question], bool],
) -> Responder:
    """Answer what is ``asked`` for with something that only lasts.

    Args:
        by: makes the answer; one of ``SLOW`` or ``ENDLESS``.
        then: answers everything else.
        attrition: notes who took all of it.
        asked: which questions are meant.
    """

    def behave(question: Question) -> Answer:
        is_meant = question.method == "GET" and asked(question)
        if not is_meant:
            return then(question)
        if attrition.outlasted:
            return absent(question)
        answer = by()
        if isinstance(answer.body, bytes):
            return replace(answer, before=lasting(answer.before, attrition))
        return replace(answer, body=lasting(answer.body, attrition))

    return behave


def is_for_weights(question: Question) -> bool:
    """Whether weights are asked for."""
    return question.is_for_weights


def is_for_metadata(question: Question) -> bool:
    """Whether what a release or a repository says of itself is asked for."""
    path = question.path
    return path.startswith("/tuf/metadata/") or (
        path.startswith("/api/v1/models/") and "/files/" not in path
    )


def _drops(piece: bytes, *, first: bytes = b"") -> Iterator[bytes]:
    yield first
    for _ in range(2 * DRIPS):  # a whole answer of metadata has 120 seconds
        yield piece
        time.sleep(DRIP_SECONDS)


def _dripped_head() -> Answer:
    return Answer(before=_drops(b"x", first=b"HTTP/1.1 200 OK\r\nX-Slow: "))


def _interim_responses() -> Answer:
    return Answer(before=_drops(INTERIM))


def _dripped_extension() -> Answer:
    return Answer(headers=CHUNKED, body=_drops(b"x", first=b"1;"))


def _dripped_trailers() -> Answer:
    return Answer(headers=CHUNKED, body=_drops(b"X: y\r\n", first=EMPTY_CHUNK))


def _dripped_body() -> Answer:
    return Answer(headers={"Content-Length": "1000000"}, body=_drops(b" "))


def _interim_flood() -> Answer:
    return Answer(before=[INTERIM * 1000] * ENDLESS_PIECES)


def _long_extensions() -> Answer:
    return Answer(headers=CHUNKED, body=[ONE_BYTE_CHUNK] * ENDLESS_PIECES)


def _endless_trailers() -> Answer:
    pieces = [b"X: y\r\n" * 1000] * ENDLESS_PIECES
    return Answer(headers=CHUNKED, body=[EMPTY_CHUNK, *pieces])


def _endless_body() -> Answer:
    return Answer(body=[ENDLESS_PIECE] * ENDLESS_PIECES)


SLOW: Mapping[str, Callable[[], Answer]] = {
    "a dripped head": _dripped_head,
    "interim responses": _interim_responses,
    "a dripped chunk extension": _dripped_extension,
    "dripped trailers": _dripped_trailers,
    "a dripped body": _dripped_body,
}
"""Answers that come a byte or a line at a time."""
ENDLESS: Mapping[str, Callable[[], Answer]] = {
    "a flood of interim responses": _interim_flood,
    "one-byte chunks with 60 kB extensions": _long_extensions,
    "endless trailers": _endless_trailers,
    "an endless body": _endless_body,
}
"""Answers that come as fast as they are read, and go on."""


def renamed(shown: str, real: str, then: Responder) -> Responder:
    """Answer for the name ``shown`` with what there is under the name ``real``.

    Args:
        shown: percent-encoded, as it stands in a path.
        real: the same.
        then: has what is under ``real``.
    """

    def behave(question: Question) -> Answer:
        return then(replace(question, path=question.path.replace(shown, real)))

    return behave


def _whole(data: bytes) -> Answer:
    headers = {
        "Content-Length": str(len(data)),
        # What huggingface_hub wants to see of a file; it compares it with nothing.
        "ETag": f'"{sha256_bytes(data)}"',
        "X-Repo-Commit": "0" * 40,
    }
    return Answer(headers=headers, body=data)


def _is_read(question: Question, answer: Answer) -> bool:
    """Whether weights go out, and not only what their length is."""
    return (
        question.is_for_weights
        and question.method == "GET"
        and answer.status in {HTTPStatus.OK, HTTPStatus.PARTIAL_CONTENT}
    )


def _without_length(answer: Answer) -> dict[str, str]:
    return {
        name: value
        for name, value in answer.headers.items()
        if name not in {"Content-Length", "Content-Range"}
    }
