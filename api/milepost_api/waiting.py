"""Wait until a job has moved on. The hub knows this without asking; until then Redis is asked, gently."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Protocol

from milepost.codec import Cursor
from milepost.log import JobLog


class WaitForChange(Protocol):
    """Returns when the job is past `after` or has ended, or after `timeout` seconds: the caller looks again."""

    async def __call__(self, job_id: str, after: Cursor | None, timeout: float) -> None: ...


class Polling:
    """`WaitForChange` by asking the log: 20 times a second at first, twice a second later."""

    def __init__(
        self,
        log: JobLog,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._log, self._clock, self._sleep = log, clock, sleep

    async def __call__(self, job_id: str, after: Cursor | None, timeout: float) -> None:
        deadline, pause = self._clock() + timeout, 0.05
        while not await self._moved(job_id, after) and (left := deadline - self._clock()) > 0:
            await self._sleep(min(pause, left))
            pause = min(pause * 1.5, 0.5)

    async def _moved(self, job_id: str, after: Cursor | None) -> bool:
        [position] = await self._log.positions([job_id])
        if position is None:
            return False  # accepted, and not in the log yet
        epoch, seq, done = position
        return done or after is None or Cursor(epoch, seq) != after
