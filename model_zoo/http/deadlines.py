"""What one answer may cost a client: seconds of waiting, and bytes beside the payload.

A server, or somebody on the way, that sends a byte now and then keeps a client busy
for good with timeouts that only count silence. So every wait for a server is taken from
an ``Allowance``: one deadline for connecting, the head and, of metadata, the body with
its trailers, and one least rate for the payload of files. What is neither head nor
payload (interim responses, chunk extensions, trailers) buys no time and is bounded.

Only time spent waiting for the other side counts: a slow disk, or hashing, is ours.

ADR 30.

Source:
    The Update Framework Specification 1.0.33, section 1.5.2 ("slow retrieval" and
    "endless data").
"""

import math
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple, TypeVar

from model_zoo.errors import TransferLimitError, TransportError

_LEAST_TIMEOUT_SECONDS = 0.001
"""Zero would mean a socket that never waits."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class DownloadLimits:
    """What a server is granted before a client gives up on it.

    Attributes:
        connect_seconds: for a connection, its TLS handshake included.
        head_seconds: from the request to the last line of the response's head.
        answer_seconds: for a whole answer of metadata, and for all that precedes the
            body of a file or stream; every attempt and redirect included.
        window_seconds: of waiting, after each of which the rate is looked at; so long
            is also the grace before the first look.
        min_bytes_per_second: of payload, over each such window, up or down; a window
            may be silent for long, but no silence outlasts two of them.
        silence_seconds: between two whole lines of an event stream.
        overhead_bytes: how many more bytes may arrive than payload: heads, interim
            responses, the framing of chunks, trailers.
        pauses_seconds: before each further attempt at what broke off.
    """

    connect_seconds: float = 10.0
    head_seconds: float = 60.0
    answer_seconds: float = 120.0
    window_seconds: float = 20.0
    min_bytes_per_second: int = 8 * 1024
    silence_seconds: float = 60.0
    overhead_bytes: int = 256 * 1024
    pauses_seconds: tuple[float, ...] = (0.1, 0.4, 1.0)


class _Phase(NamedTuple):
    """What is being waited for.

    Attributes:
        seconds: how long.
        owed_bytes: of payload that buy as many seconds again; infinitely many where
            none do.
        has_deadline: whether the wait is taken from ``answer_seconds`` too.
        complaint: what a server that did not keep to it is told to have done.
    """

    seconds: float
    owed_bytes: float
    has_deadline: bool
    complaint: str


class Allowance:
    """The limits on one answer, as they run down; shared by every attempt at it.

    Attributes:
        is_spent: whether a limit was passed: asking once more is pointless.
        was_sent: whether any byte of a request may have reached the server.
    """

    def __init__(self, limits: DownloadLimits, *, url: str) -> None:
        self.limits = limits
        self.is_spent = False
        self.was_sent = False
        self._url = url
        self._deadline_seconds = limits.answer_seconds
        self._received_bytes = self._payload_bytes = 0
        self._is_plain = False
        self.connecting()

    def connecting(self) -> None:
        """Wait for a connection from here on."""
        seconds = self.limits.connect_seconds
        complaint = f"no connection within {seconds:g} s"
        self._enter(_Phase(seconds, math.inf, has_deadline=True, complaint=complaint))

    def sending(self) -> None:
        """Wait for the server to take the request; what arrives now is no payload."""
        self._is_plain = False
        self._enter(self._window("took", has_deadline=False))

    def awaiting_head(self) -> None:
        """Wait for the response's head."""
        seconds = self.limits.head_seconds
        complaint = f"no answer within {seconds:g} s"
        self._enter(_Phase(seconds, math.inf, has_deadline=True, complaint=complaint))

    def reading(self, *, is_framed: bool, has_deadline: bool) -> None:
        """Wait for the body.

        Args:
            is_framed: it comes in chunks, and ``delivered`` says what of it is payload;
                else all that arrives is.
            has_deadline: it is metadata; else the rate is all that counts.
        """
        self._is_plain = not is_framed
        self._enter(self._window("sent", has_deadline=has_deadline))

    def streaming(self) -> None:
        """Wait for the next whole line of an event stream."""
        seconds = self.limits.silence_seconds
        complaint = f"no whole line within {seconds:g} s"
        self._enter(_Phase(seconds, math.inf, has_deadline=False, complaint=complaint))

    def sent(self, count: int) -> None:
        """Count bytes that the server took."""
        self.was_sent = True
        self._owed_bytes -= count

    def received(self, count: int) -> None:
        """Count bytes that arrived, whatever they are.

        Raises:
            TransferLimitError: too many of them were no payload.
        """
        self._received_bytes += count
        if self._is_plain:
            self.delivered(count)
        overhead = self._received_bytes - self._payload_bytes
        if overhead > self.limits.overhead_bytes + self._payload_bytes:
            reason = f"{overhead} bytes beside a payload of {self._payload_bytes}"
            raise self._refusal(reason)

    def delivered(self, count: int) -> None:
        """Count bytes of payload."""
        self._payload_bytes += count
        self._owed_bytes -= count

    def run(
        self, connection: socket.socket, operation: Callable[[], T], *, share: int = 1
    ) -> T:
        """Return what ``operation`` on ``connection`` returns, in time.

        Args:
            connection: what is waited for.
            operation: waits no longer than the timeout of ``connection``.
            share: among how many that could do as well the time is divided.

        Raises:
            TransferLimitError: the time was over before.
            TimeoutError: one of several did not answer; there is time for the others.
            OSError: the connection broke.
        """
        while True:
            seconds = self._seconds_left() / share
            connection.settimeout(max(seconds, _LEAST_TIMEOUT_SECONDS))
            began = time.monotonic()
            try:
                return operation()
            except TimeoutError:
                if share > 1:
                    raise
                began = min(began, time.monotonic() - seconds)
            finally:
                self._wait(time.monotonic() - began)

    def _seconds_left(self) -> float:
        if self._left_seconds <= 0 and self._owed_bytes <= 0:
            self._enter(self._phase)
        if self._left_seconds <= 0:
            reason = f"too slow: {self._phase.complaint}"
            raise self._refusal(reason)
        if not self._phase.has_deadline:
            return self._left_seconds
        if self._deadline_seconds <= 0:
            seconds = self.limits.answer_seconds
            reason = f"too slow: not there after {seconds:g} s"
            raise self._refusal(reason)
        return min(self._left_seconds, self._deadline_seconds)

    def _wait(self, seconds: float) -> None:
        self._left_seconds -= seconds
        if self._phase.has_deadline:
            self._deadline_seconds -= seconds

    def _enter(self, phase: _Phase) -> None:
        self._phase = phase
        self._left_seconds = phase.seconds
        self._owed_bytes = phase.owed_bytes

    def _window(self, verb: str, *, has_deadline: bool) -> _Phase:
        seconds, rate = self.limits.window_seconds, self.limits.min_bytes_per_second
        complaint = f"{verb} under {rate} bytes a second over {seconds:g} s"
        return _Phase(seconds, seconds * rate, has_deadline, complaint)

    def _refusal(self, reason: str) -> TransferLimitError:
        self.is_spent = True
        return TransferLimitError(f"{self._url}: {reason}")


def attempt(
    ask: Callable[[], T], allowance: Allowance, *, is_repeatable: bool = True
) -> T:
    """Return what ``ask`` returns, asked again where it may cure a TransportError.

    All attempts share one allowance: what the first one waited, the last one cannot.

    Args:
        ask: asks once.
        allowance: what ``ask`` waits with.
        is_repeatable: whether asking twice is as good as asking once. What is not is
            asked again only while no byte of it was sent.

    Raises:
        ZooError: what the last attempt raised.
    """
    for pause in allowance.limits.pauses_seconds:
        try:
            return ask()
        except TransportError:
            if allowance.is_spent or (allowance.was_sent and not is_repeatable):
                raise
        time.sleep(pause)
    return ask()
