"""Brings to the log what was accepted and is not there: the process died in between, or Redis lost it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import structlog
from redis.asyncio import Redis

from milepost.events import Ended, end_of
from milepost.log import JobLog
from milepost.log.housekeeping import Keepsake
from milepost.log.lifecycle import Lifecycle
from milepost.log.peek import Peek, peek, undelivered
from milepost.times import rfc3339, utc_now
from milepost_api.records import JobRecord, JobStore, Standing
from milepost_api.records.advance import NO_OUTCOME, advance
from milepost_api.revival import Revival

YOUNG_SECONDS = 2.0  # the request that accepted a job hands it over itself
PAGE = 250  # jobs compared in one round trip: about 2 ms of Redis's time
log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class _Page:
    """What one page of open jobs was like: the id to go on after, None on the last page; whether one is missing still,

    because it is too young, or because it is not safe now to bring any.
    """

    last: str | None
    waits: bool


class Dispatcher:
    """Every round: jobs the log was never seen to have, and one page of all jobs that are not done.

    When Redis may have lost something (a restart, a failover, a flush), all pages at once. That this is over is written
    down in Redis, at its end: if this process dies before, whoever has the turn next begins again, and what is back
    already is passed over.
    """

    name = "dispatcher"
    every_seconds = 2.0

    def __init__(
        self,
        store: JobStore,
        joblog: JobLog,
        redis: Redis,
        lifecycle: Lifecycle,
        *,
        now: Callable[[], datetime] = utc_now,
    ) -> None:
        self._store, self._log, self._redis, self._lifecycle = store, joblog, redis, lifecycle
        self._revival = Revival(store, joblog, lifecycle, now=now)
        self._keepsake = Keepsake(redis)
        self._now = now
        self._page_after = ""

    async def round(self) -> None:
        """Look once."""
        if not await self._revival.is_safe():
            return
        await self._undispatched()
        if await self._keepsake.is_there():
            self._page_after = (await self._one_page(self._page_after)).last or ""
        else:
            await self._recover()

    async def _undispatched(self) -> None:
        before = self._now() - timedelta(seconds=YOUNG_SECONDS)
        while records := await self._store.undispatched(created_before=before, limit=PAGE):
            if not await self._revival.bring([record.id for record in records]) or len(records) < PAGE:
                return

    async def _recover(self) -> None:
        """Bring back everything. A job that is missing and has to wait is waited for: the next round comes for it."""
        loss = await self._keepsake.lost()
        log.warning("redis is new, was restarted or has lost data: every open job is compared with it")
        page, waits = await self._one_page(""), False
        while True:
            waits = waits or page.waits
            if page.last is None:
                break
            page = await self._one_page(page.last)
        if not waits:
            await self._keepsake.leave(loss)

    async def _one_page(self, after: str) -> _Page:
        """Compare one page of the jobs not done with the log."""
        records = await self._store.open_jobs(after_id=after, limit=PAGE)
        seen = await peek(self._redis, [record.id for record in records])
        missing = [record for record, one in zip(records, seen, strict=True) if one is None]
        old = [record.id for record in missing if self._is_old(record)]
        waits = not await self._revival.bring(old) or len(old) < len(missing)
        await self._settle([one for one in seen if one is not None and one.job.done])
        lost = [record.id for record, one in zip(records, seen, strict=True) if _lost_cancel(record, one)]
        await self._cancel_again(lost)
        for job_id in await undelivered(self._redis, [one for one in seen if one is not None]):
            if await self._log.redeliver(job_id) == "delivered":
                log.warning("a waiting job stood in no queue and was delivered again", job_id=job_id)
        return _Page(records[-1].id if len(records) == PAGE else None, waits)

    async def _cancel_again(self, job_ids: Sequence[str]) -> None:
        """Redis came back without a cancel that was answered: carry it out, or ask the worker once more."""
        outcomes = await self._log.call_all([self._log.cancellation(job_id, None) for job_id in job_ids])
        for job_id, outcome in zip(job_ids, outcomes, strict=True):
            log.warning("redis had forgotten a cancel", job_id=job_id, outcome=outcome.decode())

    def _is_old(self, record: JobRecord) -> bool:
        return record.created_at < self._now() - timedelta(seconds=YOUNG_SECONDS)

    async def _settle(self, ended: Sequence[Peek]) -> None:
        """Record ends that are not recorded: mostly the recorder is about to, seldom an event is lost."""
        if not ended:
            return
        large = [seen.job.id for seen in ended if seen.job.result_omitted]
        outcomes = await self._lifecycle.outcomes([seen.job.id for seen in ended], large=large)
        by_id = {seen.job.id: seen for seen in ended}

        def apply(standings: Mapping[str, Standing]) -> None:
            for job_id, standing in standings.items():
                seen = by_id[job_id]
                # Recorded meanwhile; or a later job, given the id of one that was deleted since.
                if not standing.done and seen.job.created_at == rfc3339(standing.created_at):
                    advance(standing, _end_of(seen), outcomes.get(job_id, NO_OUTCOME))

        await self._store.change(list(by_id), apply)


def _end_of(seen: Peek) -> Ended:
    job, cursor = seen.job, seen.cursor
    return end_of(job, seq=cursor.seq, cursor=str(cursor), at=job.created_at or "")


def _lost_cancel(record: JobRecord, seen: Peek | None) -> bool:
    if seen is None or not record.cancel_requested:
        return False
    # Recorded before the log was asked. A later job may have been given the id of one that was deleted since.
    job = seen.job
    return not (job.cancel_requested or job.done) and job.created_at == rfc3339(record.created_at)
