"""What an allowance grants, told by a clock that stands still unless it is set."""

import socket
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from model_zoo.errors import TransportError
from model_zoo.http import deadlines
from model_zoo.http.deadlines import Allowance, DownloadLimits, attempt

LIMITS = DownloadLimits(pauses_seconds=(0, 0, 0))
RATE = LIMITS.min_bytes_per_second


@dataclass
class Link:
    """A server behind a link, and the seconds that it takes."""

    allowance: Allowance
    end: socket.socket
    now: float = 0.0

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds

    def bring(
        self, count: int, *, seconds: float, times: int = 1, payload: int = 0
    ) -> None:
        """Let ``count`` bytes arrive after so long, again and again."""
        for _ in range(times):
            self._bring(count, seconds)
            self.allowance.delivered(payload)

    def _bring(self, count: int, seconds: float) -> None:
        def receive() -> int:
            granted = self.end.gettimeout()
            assert granted is not None
            self.now += min(seconds, granted)
            if seconds > granted:
                raise TimeoutError
            return count

        self.allowance.received(self.allowance.run(self.end, receive))


@pytest.fixture
def link(monkeypatch: pytest.MonkeyPatch) -> Iterator[Link]:
    one, other = socket.socketpair()
    with one, other:
        it = Link(Allowance(LIMITS, url="http://zoo"), one)
        monkeypatch.setattr(deadlines, "time", it)
        yield it


def test_a_link_at_the_least_rate_brings_a_file_of_any_length(link: Link) -> None:
    link.allowance.reading(is_framed=False, has_deadline=False)
    link.bring(RATE, seconds=1, times=100_000)


def test_a_link_just_below_it_does_not(link: Link) -> None:
    link.allowance.reading(is_framed=False, has_deadline=False)
    with pytest.raises(TransportError, match="sent under 8192 bytes a second"):
        link.bring(RATE - 1, seconds=1, times=100)


def test_a_quick_beginning_buys_no_silence(link: Link) -> None:
    link.allowance.reading(is_framed=False, has_deadline=False)
    link.bring(10**9, seconds=1)
    with pytest.raises(TransportError):
        link.bring(1, seconds=2 * LIMITS.window_seconds)
    assert link.now <= 2 * LIMITS.window_seconds


def test_the_framing_of_chunks_is_no_payload(link: Link) -> None:
    link.allowance.reading(is_framed=True, has_deadline=False)
    with pytest.raises(TransportError, match="sent under"):
        link.bring(RATE, seconds=1, times=100, payload=RATE // 2)


def test_what_is_no_payload_is_bounded_however_fast_it_comes(link: Link) -> None:
    link.allowance.reading(is_framed=True, has_deadline=True)
    with pytest.raises(TransportError, match="bytes beside a payload of 0"):
        link.bring(LIMITS.overhead_bytes // 10, seconds=0, times=100)


def test_our_own_slowness_is_not_the_servers(link: Link) -> None:
    link.allowance.reading(is_framed=False, has_deadline=True)
    for _ in range(10):
        link.bring(RATE, seconds=1)
        link.now += 10_000


def test_metadata_has_a_deadline_at_any_rate(link: Link) -> None:
    link.allowance.reading(is_framed=False, has_deadline=True)
    with pytest.raises(TransportError, match="not there after 120 s"):
        link.bring(10 * RATE, seconds=1, times=1000)
    assert link.now == LIMITS.answer_seconds


def test_all_attempts_share_one_deadline(link: Link) -> None:
    asked = []

    def ask() -> None:
        asked.append(link.now)
        link.allowance.awaiting_head()
        link.bring(1, seconds=50)
        msg = "it broke off"
        raise TransportError(msg)

    with pytest.raises(TransportError, match="not there after 120 s"):
        attempt(ask, link.allowance)
    assert asked == [0, 50, 100]
    assert link.now == LIMITS.answer_seconds


@pytest.mark.parametrize("was_sent", [False, True])
def test_what_happens_twice_is_asked_again_only_if_it_was_not_sent(
    link: Link, *, was_sent: bool
) -> None:
    asked = []

    def ask() -> None:
        asked.append(1)
        if was_sent:
            link.allowance.sent(1)
        msg = "nobody there"
        raise TransportError(msg)

    with pytest.raises(TransportError):
        attempt(ask, link.allowance, is_repeatable=False)
    assert len(asked) == (1 if was_sent else 1 + len(LIMITS.pauses_seconds))


def test_a_server_that_does_not_read_is_left(link: Link) -> None:
    link.allowance.sending()

    def send() -> int:
        granted = link.end.gettimeout()
        assert granted is not None
        link.now += granted
        raise TimeoutError

    with pytest.raises(TransportError, match="took under 8192 bytes a second"):
        link.allowance.run(link.end, send)


def test_an_event_stream_lives_by_its_lines(link: Link) -> None:
    for _ in range(1000):
        link.allowance.streaming()
        link.bring(1, seconds=LIMITS.silence_seconds - 1)
    with pytest.raises(TransportError, match="no whole line within 60 s"):
        link.bring(1, seconds=1, times=100)
