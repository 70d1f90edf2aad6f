"""Looks after jobs whose worker has gone silent, and after jobs that nobody begins."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import datetime

import structlog
from redis.asyncio import Redis
from redis.exceptions import RedisError

from milepost.job import Job, WaitingReason
from milepost.log import JobLog
from milepost.log.housekeeping import NOT_STARTED, Turn, expire_unstarted, uptime_seconds
from milepost.redis import UNREACHABLE
from milepost.times import utc_now
from milepost_api.lookup import Lookup
from milepost_api.records import JobRecord, JobStore

EVERY_SECONDS = 1.0
TURN_SECONDS = 5.0  # a dead caretaker is replaced after so long
LULL_SECONDS = 3.0  # rounds are a second apart: in a longer gap Redis, the network or this host stood still
GOODBYE_SECONDS = 1.0
MOST = 100
log = structlog.get_logger()


class Patience:
    """Whether silence can be held against a worker.

    While Redis was away nobody could renew a lease. When it is back, every worker gets one whole lease to be
    heard again before any is taken away: a pause of Redis costs no attempts.
    """

    def __init__(self, lease_seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._lease, self._clock = lease_seconds, clock
        self._heard_at: float | None = None
        self._wait_until = clock()

    def began(self, uptime_seconds: float) -> None:
        """Redis is reached (again), and has been up for so long."""
        self._wait(self._lease - uptime_seconds)

    def heard(self) -> None:
        """Redis has just answered."""
        now = self._clock()
        if self._heard_at is not None and now - self._heard_at > LULL_SECONDS:
            self._wait(self._lease)
        self._heard_at = now

    @property
    def is_over(self) -> bool:
        return self._clock() >= self._wait_until

    def _wait(self, seconds: float) -> None:
        self._wait_until = max(self._wait_until, self._clock() + seconds)


class Caretaker:
    """One of them acts at a time. Should two, nothing breaks: the script that ends a lease checks it."""

    def __init__(
        self,
        joblog: JobLog,
        redis: Redis,
        *,
        lease_seconds: float,
        silence_seconds: float,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._log, self._redis, self._sleep = joblog, redis, sleep
        self._lease, self._silence = lease_seconds, silence_seconds
        self._turn = Turn(redis, seconds=TURN_SECONDS)
        self._patience = Patience(lease_seconds, clock)

    async def run(self) -> None:
        """Look every second, for ever. Raises what Redis raises when it is away; begin again then."""
        self._patience.began(await uptime_seconds(self._redis))
        try:
            while True:
                await self.round()
                await self._sleep(EVERY_SECONDS)
        except asyncio.CancelledError:
            # This process is leaving, and the next one need not wait; without Redis the turn ends by itself.
            with suppress(RedisError, *UNREACHABLE):
                async with asyncio.timeout(GOODBYE_SECONDS):
                    await self._turn.give_up()
            raise

    async def round(self) -> None:
        """Look once."""
        mine = await self._turn.take_or_keep()
        self._patience.heard()
        if mine and self._patience.is_over:
            while await self._lapse_some():
                pass

    async def _lapse_some(self) -> bool:
        """Take away overdue leases. True when there may be more of them."""
        times = {"lease_seconds": self._lease, "silence_seconds": self._silence}
        found = await self._log.old_leases(**times, most=MOST)
        changed = False
        for job_id in found:
            outcome = await self._log.lapse(job_id, **times)
            if outcome in ("retrying", "failed", "cancelled"):
                log.warning("a worker was lost", job_id=job_id, outcome=outcome)
            changed = changed or outcome not in ("alive", "stalled")
        return changed and len(found) == MOST


class StartDeadlines:
    """Ends jobs that were not begun within their `start_timeout_seconds`."""

    def __init__(
        self,
        store: JobStore,
        joblog: JobLog,
        lookup: Lookup,
        *,
        now: Callable[[], datetime] = utc_now,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._store, self._log, self._lookup = store, joblog, lookup
        self._now, self._sleep = now, sleep

    async def run(self) -> None:
        """Look every second, for ever. Raises what Redis or the database raise when they are away."""
        while True:
            await self.round()
            await self._sleep(EVERY_SECONDS)

    async def round(self) -> None:
        """Look once. A job that the log does not have (yet) is left to the dispatcher first."""
        overdue = await self._store.start_overdue(self._now(), limit=MOST)
        for record, job in zip(overdue, await self._lookup.overlay(overdue), strict=True):
            patience, why = record.start_timeout_seconds or 0.0, _why_not_begun(record, job)
            outcome = await expire_unstarted(self._log, record.id, why, patience_seconds=patience)
            if outcome == "expired":
                log.info("a job was not begun in time", job_id=record.id)


def _why_not_begun(record: JobRecord, job: Job) -> str:
    seconds = record.start_timeout_seconds
    said = NOT_STARTED if seconds is None else f"No worker began this job within its {seconds:g} s."
    if job.waiting is None:
        return said
    busy = job.waiting.reason == WaitingReason.WORKERS_BUSY
    return f"{said} {'Those that could were busy.' if busy else job.waiting.message}"
