"""Where a job is read: in the log while it lives there, in the records afterwards."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace

import structlog
from redis.asyncio import Redis
from redis.exceptions import RedisError, ResponseError

from milepost.codec import Cursor
from milepost.errors import JobNotFound, StoreUnavailable
from milepost.job import Job
from milepost.log.peek import peek_in_line
from milepost.redis import UNREACHABLE, is_transient
from milepost_api.records import JobRecord, JobStore, job_of
from milepost_api.roster import Roster

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Found:
    """A job of this moment. `cursor` is None while the log has not had it; `live`: the log has it now."""

    job: Job
    cursor: Cursor | None
    live: bool

    @property
    def etag(self) -> str:
        # Weak (RFC 9110 §8.8.1): heartbeats change the text and not the version. Where it waits is no event either,
        # but somebody who asks again wants to hear of it.
        job = self.job
        standing = (f".{part}" for part in (job.queue_position, job.waiting and job.waiting.reason) if part)
        return f'W/"{self.cursor or 0}{"".join(standing)}"'


@asynccontextmanager
async def redis_answers(seconds: float) -> AsyncIterator[None]:
    """Give what happens inside so long. Raises `StoreUnavailable` when Redis is away, does not answer, or does and

    cannot serve at the moment.
    """
    try:
        async with asyncio.timeout(seconds):
            yield
    except (ResponseError, *UNREACHABLE) as error:  # the timeout is among them
        if not is_transient(error):
            raise
        raise StoreUnavailable("Redis cannot be reached at the moment; try again shortly.") from error


class Lookup:
    """Finds jobs. A live one is never behind an event that was already seen: the log has both."""

    def __init__(self, redis: Redis, store: JobStore, roster: Roster, *, answer_seconds: float) -> None:
        self._redis, self._store, self._roster, self._seconds = redis, store, roster, answer_seconds

    async def find(self, job_id: str, tenant: str) -> Found:
        """Return this tenant's job. Raises `JobNotFound`: somebody else's is found as little as one that is not there,

        by the same steps.
        """
        try:
            async with redis_answers(self._seconds):
                [seen] = await peek_in_line(self._redis, [job_id], tenant=tenant)
                if seen is not None:
                    [job] = await self._roster.explain([seen.job])
                    return Found(job, seen.cursor, live=True)
        except StoreUnavailable:
            record = await self._store.find(job_id, tenant)
            if record is None or not record.done:
                raise  # the record of a live job is behind; what has ended stays as it is
            return found(record)
        record = await self._store.find(job_id, tenant)
        if record is None:
            raise JobNotFound
        return found(record)

    async def overlay(self, records: Sequence[JobRecord]) -> list[Job]:
        """Return these jobs, those not done as the log has them at this moment."""
        living = [record.id for record in records if not record.done]
        async with redis_answers(self._seconds):
            seen = dict(zip(living, await peek_in_line(self._redis, living), strict=True))
            jobs = [one.job if (one := seen.get(record.id)) else job_of(record) for record in records]
            return await self._roster.explain(jobs)

    async def accepted(self, record: JobRecord, position: int | None) -> Found:
        """Return a job that was accepted this moment and is `position`-th in its queue, None if in none.

        It is accepted whatever becomes of Redis: without it nothing is said of why the job waits.
        """
        job = replace(job_of(record), queue_position=position)
        try:
            async with redis_answers(self._seconds):
                [job] = await self._roster.explain([job])
        except (StoreUnavailable, RedisError) as error:
            log.warning("accepted, workers unknown", job_id=record.id, reason=str(error))
        return Found(job, None, live=False)


def found(record: JobRecord) -> Found:
    """Return a job as its record has it."""
    cursor = Cursor(record.epoch, record.version) if record.epoch else None
    return Found(job_of(record), cursor, live=False)
