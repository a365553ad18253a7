"""Time as a value: what expires takes a clock, so that a test can turn it."""

from collections.abc import Callable
from datetime import UTC, datetime

Clock = Callable[[], datetime]


def system_clock() -> datetime:
    """Return the present, aware, in UTC."""
    return datetime.now(UTC)  # noqa: TID251  this is the Clock that others take


def rfc3339(moment: datetime) -> str:
    """Return ``moment`` as RFC 3339 in UTC, to the second: 2026-11-22T13:00:00Z."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
