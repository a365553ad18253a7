"""Time as a value: what expires takes a clock, so that a test can turn it."""

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

Clock = Callable[[], datetime]
CLOCK_SKEW = timedelta(minutes=5)
"""How far two honest clocks may be apart."""

_FORMAT = "%Y-%m-%dT%H:%M:%SZ"
_RFC3339 = re.compile(r"\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}Z", re.ASCII)


def system_clock() -> datetime:
    """Return the present, aware, in UTC."""
    return datetime.now(UTC)  # noqa: TID251  this is the Clock that others take


def rfc3339(moment: datetime) -> str:
    """Return ``moment`` as RFC 3339 in UTC, to the second: 2026-11-22T13:00:00Z."""
    return moment.astimezone(UTC).strftime(_FORMAT)


def from_rfc3339(text: str) -> datetime:
    """Return the moment that ``rfc3339`` spells so, and no other spelling of it.

    Raises:
        ValueError: another spelling, without a zone say, or no such moment.
    """
    if not _RFC3339.fullmatch(text):
        msg = f"expected a time such as 2026-11-22T13:00:00Z, found {text[:40]!a}"
        raise ValueError(msg)
    return datetime.strptime(text, _FORMAT).replace(tzinfo=UTC)
