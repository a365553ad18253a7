"""Background loops beside the requests: each runs by itself, and its failures are seen.

A loop that fails says so in the log, waits longer each time and goes on; the others do
not notice. ``/readyz`` tells of all of them.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime

from starlette.concurrency import run_in_threadpool

from model_zoo.clock import Clock

log = logging.getLogger(__name__)

LONGEST_PAUSE_SECONDS = 60.0
TOLERATED_FAILURES = 2
"""In a row: a database that is busy fails once or twice and is no news."""


@dataclass(slots=True, kw_only=True)
class Loop:
    """One thing that is done again and again, and how it went.

    Attributes:
        name: in the log and in ``/readyz``.
        act: does it once, in a thread.
        every_seconds: between two times.
        failures: how often in a row it failed.
        succeeded_at: when it last worked.
        error: the type of the last error; what it said is in the log alone, since
            whoever asks for readiness needs no token.
    """

    name: str
    act: Callable[[], object]
    every_seconds: float
    failures: int = 0
    succeeded_at: datetime | None = None
    error: str | None = None

    @property
    def is_well(self) -> bool:
        """Whether it works, or failed no oftener than now and then."""
        return self.failures <= TOLERATED_FAILURES

    async def run(self, clock: Clock) -> None:
        """Do it for ever, whatever it raises."""
        while True:
            try:
                await run_in_threadpool(self.act)
            except Exception as error:  # the next time may work, and others go on
                self.failures += 1
                self.error = type(error).__name__
                log.exception("%s failed %d times in a row", self.name, self.failures)
            else:
                self.failures, self.error = 0, None
                self.succeeded_at = clock()
            await asyncio.sleep(self._pause_seconds())

    def _pause_seconds(self) -> float:
        if not self.failures:
            return self.every_seconds
        return min(2.0 ** min(self.failures, 10), LONGEST_PAUSE_SECONDS)


@asynccontextmanager
async def running(loops: Iterable[Loop], *, clock: Clock) -> AsyncIterator[None]:
    """Run every loop until the block ends."""
    tasks = [asyncio.create_task(loop.run(clock), name=loop.name) for loop in loops]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
