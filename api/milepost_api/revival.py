"""The one way by which an accepted job that Redis does not have gets there."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime

import structlog

from milepost.log import JobLog
from milepost.log.lifecycle import Lifecycle
from milepost.times import utc_now
from milepost_api.records import JobStore, new_job

log = structlog.get_logger()


class Revival:
    """Brings jobs to the log from their records: those it never had, and those it has lost.

    Creating a job that is there changes nothing, so any number of processes may bring the same.
    """

    def __init__(
        self, store: JobStore, joblog: JobLog, lifecycle: Lifecycle, *, now: Callable[[], datetime] = utc_now
    ) -> None:
        self._store, self._log, self._lifecycle, self._now = store, joblog, lifecycle, now

    async def is_safe(self) -> bool:
        """Whether a job that the log does not have can be told from one that it does not have any more.

        A job that ended so long ago that the log has dropped it, and whose end is not recorded yet, looks like one that
        it never had: it would run twice.
        """
        behind_ms = await self._lifecycle.behind_ms()
        if behind_ms <= self._log.retention_ms / 2:
            return True
        log.warning(
            "no job is brought to redis while records are so far behind", behind_seconds=behind_ms // 1000
        )
        return False

    async def bring(self, job_ids: Sequence[str]) -> bool:
        """Bring those of these jobs that are not done; False: none was brought, since that is not safe now."""
        if not job_ids:
            return True
        if not await self.is_safe():
            return False
        # Read again: since the log was asked, one of them may have ended, been recorded and deleted.
        records = await self._store.still_open(job_ids)
        created = await self._log.create_all([new_job(record) for record in records])
        brought = [record.id for record, one in zip(records, created, strict=True) if one]
        if brought:
            log.info("brought accepted jobs to redis", jobs=len(brought), first=brought[0])
        await self._store.mark_dispatched([record.id for record in records], self._now())
        return True
