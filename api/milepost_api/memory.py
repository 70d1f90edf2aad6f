"""What the hub asks of SQL."""

from __future__ import annotations

from milepost.codec import Cursor
from milepost.job import Status
from milepost.log import JobLog
from milepost_api.hub import Recalled
from milepost_api.records import JobStore, job_of, new_job

NEVER_RUN = frozenset({Status.QUEUED, Status.SCHEDULED})


class Memory:
    """The records, as the hub's answer to a job that Redis does not have."""

    def __init__(self, store: JobStore, joblog: JobLog) -> None:
        self._store, self._log = store, joblog

    async def recall(self, job_id: str, tenant: str | None = None) -> Recalled | None:
        """Return the job's record, if it is of `tenant`; one that has not run yet is handed to Redis on the way."""
        record = await self._store.get(job_id)
        if record is None or tenant not in (None, record.tenant):
            return None
        if not record.done and record.status in NEVER_RUN:
            await self._log.create(new_job(record))
        return Recalled(job_of(record), Cursor(record.epoch or "0", record.version))
