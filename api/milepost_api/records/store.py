"""Everything that is asked of the records."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any

from sqlalchemy import select, text, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, async_sessionmaker

from milepost.errors import MilepostError
from milepost_api.records import search
from milepost_api.records.engine import Engines, reachable
from milepost_api.records.listing import (
    COUNTED_MOST,
    JobCounts,
    JobFilter,
    counts_query,
    page_query,
    with_keys,
)
from milepost_api.records.order import another_key
from milepost_api.records.queues import QueueCounts, queues_query
from milepost_api.records.table import JobRecord, tag_records

_jobs: Any = JobRecord.__table__.c  # type: ignore[attr-defined]


class KeyTaken(MilepostError):
    """A job with this idempotency key exists already."""


class JobStore:
    """The records of jobs. Every method is one transaction.

    All raise `StoreUnavailable` when the database cannot be reached.
    """

    def __init__(self, engines: Engines) -> None:
        self._reader = _sessions(engines.reader)
        self._writer = _sessions(engines.writer)

    async def insert(self, record: JobRecord) -> None:
        """Commit a new job. Raises `KeyTaken` when its idempotency key names another one already."""
        attempt = 0
        while True:
            try:
                await self._insert(record)
                return
            except IntegrityError as error:
                if record.idempotency_key is not None and "idempotency_key" in str(error.orig):
                    raise KeyTaken from error
                if "sort_key" not in str(error.orig):
                    raise
            attempt += 1  # another job was accepted in this very microsecond
            record.sort_key = another_key(record.created_at, attempt)

    async def _insert(self, record: JobRecord) -> None:
        async with self._write() as session:
            session.add(record)
            await session.flush()  # the rows of its tags refer to it
            session.add_all(tag_records(record))

    async def get(self, job_id: str) -> JobRecord | None:
        """Return one job, None where there is none."""
        async with self._read() as session:
            return await session.get(JobRecord, job_id)

    async def by_key(self, tenant: str, key: str) -> JobRecord | None:
        """Return the job that was submitted under an idempotency key of this tenant."""
        query = select(JobRecord).where(_jobs.tenant == tenant, _jobs.idempotency_key == key)
        return next(iter(await self._all(query)), None)

    async def page(self, wanted: JobFilter, *, limit: int) -> list[JobRecord]:
        """Return at most `limit` jobs, newest first unless asked otherwise."""
        async with self._lists() as session:
            if wanted.text is None:
                return list(await session.scalars(page_query(wanted, limit)))
            keys = await search.page_keys(session, wanted, limit)
            return list(await session.scalars(with_keys(wanted, keys)))

    async def counts(self, wanted: JobFilter) -> JobCounts:
        """Count jobs by their status, as far as the records know it; of each status 10,000 at most."""
        async with self._lists() as session:
            if wanted.text is not None:
                return await search.counts(session, wanted)
            rows = await session.execute(counts_query(wanted))
            found = {status: int(jobs) for status, jobs in rows}
        capped = frozenset(status for status, jobs in found.items() if jobs > COUNTED_MOST)
        return JobCounts({status: min(jobs, COUNTED_MOST) for status, jobs in found.items()}, capped)

    async def undispatched(self, *, created_before: datetime, limit: int) -> list[JobRecord]:
        """Return jobs that nobody has seen in the log yet, the oldest first."""
        query = select(JobRecord).where(
            _jobs.dispatched_at.is_(None), ~_jobs.done, _jobs.created_at < created_before
        )
        return await self._all(query.order_by(_jobs.created_at).limit(limit))

    async def open_jobs(self, *, after_id: str, limit: int) -> list[JobRecord]:
        """Return jobs that are not done as far as the records know, in the order of their ids."""
        query = select(JobRecord).where(~_jobs.done, _jobs.id > after_id)
        return await self._all(query.order_by(_jobs.id).limit(limit))

    async def start_overdue(self, now: datetime, *, limit: int) -> list[JobRecord]:
        """Return jobs that should have been started by `now` and were not, as far as the records know."""
        query = select(JobRecord).where(
            _jobs.start_by.is_not(None), ~_jobs.done, _jobs.start_by < now, _jobs.started_at.is_(None)
        )
        return await self._all(query.order_by(_jobs.start_by).limit(limit))

    async def queues(self, now: datetime) -> list[QueueCounts]:
        """Return what each queue holds; those that hold nothing are not among them."""
        async with self._read() as session:
            return [QueueCounts(*row) for row in await session.execute(queues_query(now))]

    async def mark_dispatched(self, job_ids: Sequence[str], at: datetime) -> None:
        """Remember that the log has these jobs."""
        if job_ids:
            change = update(JobRecord).where(_jobs.id.in_(job_ids), _jobs.dispatched_at.is_(None))
            async with self._write() as session:
                await session.execute(change.values(dispatched_at=at))

    async def change(self, job_ids: Sequence[str], apply: Callable[[Mapping[str, JobRecord]], None]) -> None:
        """Let `apply` change these records, in one transaction in which nobody else changes them."""
        # In the order of ids: two recorders that lock the same rows must not wait for each other.
        query = select(JobRecord).where(_jobs.id.in_(set(job_ids))).order_by(_jobs.id).with_for_update()
        async with self._write() as session:
            apply({record.id: record for record in (await session.execute(query)).scalars()})

    async def ping(self) -> None:
        """Ask the database for a sign of life."""
        async with self._read() as session:
            await session.execute(select(1))

    async def _all(self, query: Any) -> list[JobRecord]:
        async with self._read() as session:
            return list((await session.execute(query)).scalars())

    @asynccontextmanager
    async def _read(self) -> AsyncIterator[AsyncSession]:
        with reachable():
            async with self._reader() as session:
                yield session

    @asynccontextmanager
    async def _lists(self) -> AsyncIterator[AsyncSession]:
        async with self._read() as session:
            if session.get_bind().dialect.name == "postgresql":
                # The fifth time it is asked, PostgreSQL may keep a plan for any values; then what is rare looks like
                # what is common, and it reads all jobs in order until some are found.
                await session.execute(text("SET LOCAL plan_cache_mode = force_custom_plan"))
            yield session

    @asynccontextmanager
    async def _write(self) -> AsyncIterator[AsyncSession]:
        with reachable():
            async with self._writer() as session, session.begin():
                yield session


def _sessions(engine: AsyncEngine) -> async_sessionmaker[AsyncSession]:
    return async_sessionmaker(engine, expire_on_commit=False)
