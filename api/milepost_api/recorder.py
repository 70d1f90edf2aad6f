"""Moves lifecycle events from the log into the records: in batches, acknowledged after the commit."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

import structlog
from redis.exceptions import RedisError
from sqlalchemy.exc import SQLAlchemyError

from milepost.codec import Cursor
from milepost.errors import StoreUnavailable
from milepost.events import Ended, StatusChanged
from milepost.log import JobLog
from milepost.log.housekeeping import settle
from milepost.log.lifecycle import PAGE_ENTRIES, Lifecycle, LifecycleEntry, Outcome
from milepost.log.many import forget
from milepost.redis import UNREACHABLE
from milepost.times import rfc3339
from milepost_api.portions import portions
from milepost_api.records import JobRecord, JobStore, Standing, job_of
from milepost_api.records.advance import NO_OUTCOME, advance, is_forgotten, lifecycle_event

BATCH = 1000
"""Events of one transaction at most: while it lags behind, and as many as there are when it keeps up."""
RESULT_BYTES = 16 * 1024 * 1024
"""Large results fetched at once: a batch whose results are longer is committed in portions."""
WAIT_MS = 2000
GATHER_SECONDS = 0.05
"""The first event after quiet waits so long for those that follow it. A short job is one transaction then instead of
three, and none of them is in the way of the request that has just submitted it, or of the stream that is being opened.
"""
DEAD_MS = 30_000  # a batch takes milliseconds; a recorder that holds one for so long is gone
LOOK_SECONDS = 10.0  # how often to look for what the dead have left
log = structlog.get_logger()


class Recorder:
    """One consumer. Killed at any moment, its events are applied by itself later or by another one."""

    def __init__(
        self,
        lifecycle: Lifecycle,
        store: JobStore,
        joblog: JobLog,
        *,
        dead_ms: int = DEAD_MS,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._lifecycle, self._store, self._log = lifecycle, store, joblog
        self._dead_ms, self._clock, self._sleep = dead_ms, clock, sleep

    async def run(self) -> None:
        """Record for ever. Raises what Redis or the database raise when they are away; begin again then."""
        await self._lifecycle.join()
        while owed := await self._lifecycle.owed(BATCH):
            await self.record(owed)
        look_at = 0.0
        while True:
            if self._clock() >= look_at:
                await self.take_over()
                look_at = self._clock() + LOOK_SECONDS
            if entries := await self._lifecycle.fresh(BATCH, wait_ms=WAIT_MS):
                await self.record(entries + await self._followers(entries))

    async def _followers(self, entries: Sequence[LifecycleEntry]) -> list[LifecycleEntry]:
        """Return what comes within a moment of these. Whoever ends this meanwhile waits until these are recorded."""
        if len(entries) >= PAGE_ENTRIES:
            return []  # there is more to do than to wait
        try:
            await self._sleep(GATHER_SECONDS)
        except asyncio.CancelledError:
            with suppress(StoreUnavailable, RedisError, *UNREACHABLE):  # another recorder takes them over
                await self.record(entries)
            raise
        return await self._lifecycle.fresh(BATCH, wait_ms=None)

    async def take_over(self) -> None:
        """Record what dead recorders have left."""
        while entries := await self._lifecycle.abandoned(BATCH, idle_ms=self._dead_ms):
            await self.record(entries)

    async def record(self, entries: Sequence[LifecycleEntry]) -> None:
        """Apply these events and acknowledge them. Raises `StoreUnavailable`; then those left are not acknowledged."""
        try:
            await self._apply(entries)
        except (SQLAlchemyError, ArithmeticError, TypeError, ValueError):
            if len(entries) > 1:  # one of them: find it, the others must not wait for it
                half = len(entries) // 2
                await self.record(entries[:half])
                await self.record(entries[half:])
                return
            # Given up after it was refused alone: it would come back for ever, and never be accepted.
            log.exception("an event could not be recorded", lifecycle_event=entries[0].event)
        await self._lifecycle.recorded(entries)

    async def _apply(self, entries: Sequence[LifecycleEntry]) -> None:
        told = [
            _Told(event, entry.created_at) for entry in entries if (event := _readable(entry)) is not None
        ]
        events = [one.event for one in told]
        large = [event.job_id for event in events if isinstance(event, Ended) and event.result_omitted]
        sizes = await self._lifecycle.sizes(large)
        for portion in portions(told, lambda one: _weight(one.event, sizes), RESULT_BYTES):
            await self._commit(portion)

    async def _commit(self, told: Sequence[_Told]) -> None:
        ends = {one.event.job_id: one.event for one in told if isinstance(one.event, Ended)}
        large = [job_id for job_id, end in ends.items() if end.result_omitted]
        outcomes = await self._lifecycle.outcomes(list(ends), large=large)
        forgotten: set[str] = set()
        again: dict[str, Ended] = {}

        def apply(standings: Mapping[str, Standing]) -> None:
            forgotten.update(_advance_all(standings, told, outcomes))
            again.update(_other_ends(standings, told))

        await self._store.change([one.event.job_id for one in told], apply)
        for job_id in forgotten:
            await self._end_again(job_id)
        for job_id, end in again.items():
            await self._forget_unless_same(job_id, end, outcomes.get(job_id, NO_OUTCOME))

    async def _forget_unless_same(self, job_id: str, end: Ended, outcome: Outcome) -> None:
        """A job whose end Redis had lost was at its end again before anybody could stop it.

        The first one is recorded and was perhaps seen; it stays. The log does not know it any more, so it has to
        forget the job: then everybody is told what the record has.
        """
        record = await self._store.get(job_id)
        if record is None or not record.done or _is_same(record, end, outcome):
            return
        await forget(self._log, {job_id: rfc3339(record.created_at)})
        log.warning(
            "a job ended twice, since redis had forgotten the first end; that one counts", job_id=job_id
        )

    async def _end_again(self, job_id: str) -> None:
        """Readers have seen the end; it must not happen again, and the work need not be done again."""
        record = await self._store.get(job_id)
        if record is None or not record.done:
            return  # removed since
        if await settle(self._log, job_of(record), record.result) == "settled":
            log.warning("redis had forgotten the end of a job", job_id=job_id)


@dataclass(frozen=True, slots=True)
class _Told:
    """An event, and when its job was created: an id may have been given again, to a later job."""

    event: StatusChanged | Ended
    created_at: str

    def is_about(self, standing: Standing) -> bool:
        return not self.created_at or self.created_at == rfc3339(standing.created_at)


def _readable(entry: LifecycleEntry) -> StatusChanged | Ended | None:
    event = lifecycle_event(entry.event)
    if event is None:
        log.error("a lifecycle event cannot be read and is left out", entry=entry.id)
    return event


def _other_ends(standings: Mapping[str, Standing], told: Sequence[_Told]) -> Iterator[tuple[str, Ended]]:
    """Return ends of another history than the one in which the job has ended, as the record has it."""
    for one in told:
        standing, end = standings.get(one.event.job_id), one.event
        if standing is None or not standing.done or not isinstance(end, Ended) or not one.is_about(standing):
            continue
        cursor = Cursor.parse(end.cursor)
        if cursor is not None and cursor.epoch != standing.epoch:
            yield standing.id, end


def _is_same(record: JobRecord, end: Ended, outcome: Outcome) -> bool:
    """Whether it is the end that was recorded, given back to the log by `settle`."""
    result = json.loads(outcome.result) if outcome.result else end.result
    error = end.error.to_wire() if end.error else None
    before = json.loads(record.result) if record.result else None
    return (record.status, record.attempt, before, record.error) == (end.status, end.attempt, result, error)


def _weight(event: StatusChanged | Ended, sizes: Mapping[str, int]) -> int:
    return sizes.get(event.job_id, 0) if isinstance(event, Ended) else 0


def _advance_all(
    standings: Mapping[str, Standing],
    told: Sequence[_Told],
    outcomes: Mapping[str, Outcome],
) -> set[str]:
    """Apply the events; return the jobs whose end the log has forgotten."""
    forgotten: set[str] = set()
    for one in told:
        event = one.event
        standing = standings.get(event.job_id)
        if standing is None or not one.is_about(standing):
            log.info("an event of a job without a record is left out: it was deleted", job_id=event.job_id)
        elif is_forgotten(standing, event):
            forgotten.add(standing.id)
        else:
            advance(standing, event, outcomes.get(event.job_id, NO_OUTCOME))
    return forgotten
