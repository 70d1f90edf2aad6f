"""What the hub asks of SQL, and how requests wait on the hub."""

from __future__ import annotations

import asyncio
import contextlib

from milepost.codec import Cursor
from milepost.errors import JobNotFound, StoreUnavailable
from milepost.job import Status
from milepost.log import JobLog
from milepost.redis import UNREACHABLE
from milepost_api.hub import Hub, Recalled
from milepost_api.records import JobStore
from milepost_api.submit import new_job
from milepost_api.views import job_of
from milepost_api.waiting import WaitForChange

NEVER_RUN = frozenset({Status.QUEUED, Status.SCHEDULED})


class Memory:
    """The records, as the hub's answer to a job that Redis does not have."""

    def __init__(self, store: JobStore, joblog: JobLog) -> None:
        self._store, self._log = store, joblog

    async def recall(self, job_id: str) -> Recalled | None:
        """Return the job's record; one that has not run yet is handed to Redis on the way."""
        record = await self._store.get(job_id)
        if record is None:
            return None
        if not record.done and record.status in NEVER_RUN:
            await self._log.create(new_job(record))
        return Recalled(job_of(record), Cursor(record.epoch or "0", record.version))


class ByHub:
    """`WaitForChange` by the hub's own subscription: no polling, no connection of its own."""

    def __init__(self, hub: Hub, otherwise: WaitForChange) -> None:
        self._hub, self._otherwise = hub, otherwise

    async def __call__(self, job_id: str, after: Cursor | None, timeout: float) -> None:
        try:
            topic = await self._hub.watch(job_id)
        except (JobNotFound, StoreUnavailable, *UNREACHABLE):
            await self._otherwise(job_id, after, timeout)
            return
        try:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(timeout):
                    while topic.cursor == after and not topic.done and not self._hub.draining.is_set():
                        await topic.pulse.wait()
        finally:
            self._hub.leave(topic)
