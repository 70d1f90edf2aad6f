"""What the hub asks of SQL."""

from __future__ import annotations

from redis.exceptions import RedisError

from milepost.codec import Cursor
from milepost.errors import StoreUnavailable
from milepost_api.hub import Recalled
from milepost_api.lookup import redis_answers
from milepost_api.records import JobStore, job_of
from milepost_api.revival import Revival


class Memory:
    """The records, as the hub's answer to a job that Redis does not have."""

    def __init__(self, store: JobStore, revival: Revival, *, answer_seconds: float) -> None:
        self._store, self._revival, self._seconds = store, revival, answer_seconds

    async def recall(self, job_id: str, tenant: str | None = None) -> Recalled | None:
        """Return the job's record, if it is of `tenant`; one that is not done is handed to Redis on the way, when that

        is safe. Raises `StoreUnavailable`.
        """
        record = await self._store.get(job_id)
        if record is None or tenant not in (None, record.tenant):
            return None
        if not record.done:
            await self._bring(job_id)
        return Recalled(job_of(record), Cursor(record.epoch or "0", record.version))

    async def _bring(self, job_id: str) -> None:
        try:
            async with redis_answers(self._seconds):
                await self._revival.bring([job_id])
        except RedisError as error:  # it is full, or may not be written
            raise StoreUnavailable("Redis takes no jobs at the moment; try again shortly.") from error
