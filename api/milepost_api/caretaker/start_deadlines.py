"""Looks after jobs that nobody begins."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

import structlog

from milepost.job import Job, WaitingReason
from milepost.log import JobLog
from milepost.log.housekeeping import NOT_STARTED, expire_unstarted
from milepost.times import utc_now
from milepost_api.lookup import Lookup
from milepost_api.records import JobRecord, JobStore

MOST = 100
log = structlog.get_logger()


class StartDeadlines:
    """Ends jobs that were not begun within their `start_timeout_seconds`."""

    name = "start deadlines"
    every_seconds = 1.0

    def __init__(
        self, store: JobStore, joblog: JobLog, lookup: Lookup, *, now: Callable[[], datetime] = utc_now
    ) -> None:
        self._store, self._log, self._lookup, self._now = store, joblog, lookup, now

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
