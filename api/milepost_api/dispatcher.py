"""Brings to the log what was accepted and is not there: the process died in between, or Redis lost it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime, timedelta

import structlog
from redis.asyncio import Redis

from milepost.events import end_of
from milepost.log import JobLog
from milepost.log.housekeeping import has_forgotten
from milepost.log.lifecycle import Lifecycle
from milepost.log.peek import Peek, peek, undelivered
from milepost.times import utc_now
from milepost_api.records import JobRecord, JobStore, Standing, new_job
from milepost_api.records.advance import NO_OUTCOME, advance

EVERY_SECONDS = 2.0
YOUNG_SECONDS = 2.0  # the request that accepted a job hands it over itself
PAGE = 500
log = structlog.get_logger()


class Dispatcher:
    """Every round: jobs the log was never seen to have, and one page of all jobs that are not done.

    After Redis has lost everything, all pages at once. Creating a job that is there changes nothing, so any
    number of dispatchers may do the same.
    """

    def __init__(
        self,
        store: JobStore,
        joblog: JobLog,
        redis: Redis,
        lifecycle: Lifecycle,
        *,
        now: Callable[[], datetime] = utc_now,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._store, self._log, self._redis, self._lifecycle = store, joblog, redis, lifecycle
        self._now, self._sleep = now, sleep
        self._page_after = ""

    async def run(self) -> None:
        """Dispatch for ever. Raises what Redis or the database raise when they are away; begin again then."""
        while True:
            await self.round()
            await self._sleep(EVERY_SECONDS)

    async def round(self) -> None:
        """Look once."""
        if await self._recorder_is_far_behind():
            return
        await self._undispatched()
        if await has_forgotten(self._redis):
            self._page_after = ""
            while await self._one_page():
                pass
        else:
            await self._one_page()

    async def _recorder_is_far_behind(self) -> bool:
        """A job that ended so long ago that the log has dropped it, and whose end is not recorded yet, looks

        like a job that the log never had: it would run twice.
        """
        behind_ms = await self._lifecycle.behind_ms()
        if behind_ms > self._log.retention_ms / 2:
            log.warning(
                "nothing is dispatched while records are so far behind", behind_seconds=behind_ms // 1000
            )
            return True
        return False

    async def _undispatched(self) -> None:
        before = self._now() - timedelta(seconds=YOUNG_SECONDS)
        while records := await self._store.undispatched(created_before=before, limit=PAGE):
            await self._bring(records)
            if len(records) < PAGE:
                return

    async def _one_page(self) -> bool:
        """Compare one page of the jobs not done with the log. False after the last page."""
        records = await self._store.open_jobs(after_id=self._page_after, limit=PAGE)
        seen = await peek(self._redis, [record.id for record in records])
        before = self._now() - timedelta(seconds=YOUNG_SECONDS)
        pairs = list(zip(records, seen, strict=True))
        await self._bring([record for record, one in pairs if one is None and record.created_at < before])
        await self._settle([one for _, one in pairs if one is not None and one.job.done])
        for job_id in await undelivered(self._redis, [one for one in seen if one is not None]):
            if await self._log.redeliver(job_id) == "delivered":
                log.warning("a waiting job stood in no queue and was delivered again", job_id=job_id)
        more = len(records) == PAGE
        self._page_after = records[-1].id if more else ""
        return more

    async def _bring(self, records: Sequence[JobRecord]) -> None:
        created = [record.id for record in records if await self._log.create(new_job(record))]
        if created:
            log.info("brought accepted jobs to redis", jobs=len(created), first=created[0])
        await self._store.mark_dispatched([record.id for record in records], self._now())

    async def _settle(self, ended: Sequence[Peek]) -> None:
        """Record ends that are not recorded: mostly the recorder is about to, seldom an event is lost."""
        ids = [seen.job.id for seen in ended]
        large = [seen.job.id for seen in ended if seen.job.result_omitted]
        outcomes = await self._lifecycle.outcomes(ids, large=large)
        ends = {
            job.id: end_of(job, seq=seen.cursor.seq, cursor=str(seen.cursor), at=job.created_at or "")
            for seen in ended
            for job in [seen.job]
        }

        def apply(standings: Mapping[str, Standing]) -> None:
            for job_id, standing in standings.items():
                advance(standing, ends[job_id], outcomes.get(job_id, NO_OUTCOME))

        if ends:
            await self._store.change(list(ends), apply)
