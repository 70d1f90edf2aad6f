"""Everything that is asked of the records."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Collection, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any

from sqlalchemy import delete, select, text, update
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, async_sessionmaker

from milepost_api.records import search
from milepost_api.records.engine import Engines, reachable
from milepost_api.records.intake import Intake
from milepost_api.records.listing import (
    COUNTED_MOST,
    JobCounts,
    JobFilter,
    counts_query,
    page_query,
    with_keys,
)
from milepost_api.records.queues import QueueCounts, queues_query
from milepost_api.records.standing import Change, Standing, standings_query
from milepost_api.records.table import JobRecord

_jobs: Any = JobRecord.__table__.c  # type: ignore[attr-defined]


@dataclass(frozen=True, slots=True)
class Outline:
    """The little of a record that says whether something may be done to its job."""

    id: str
    created_at: datetime
    status: str
    done: bool
    sort_key: int
    idempotency_key: str | None


_OUTLINE = tuple(_jobs[field.name] for field in fields(Outline))


class JobStore:
    """The records of jobs. Every method is one transaction.

    All raise `StoreUnavailable` when the database cannot be reached.
    """

    def __init__(self, engines: Engines) -> None:
        self._engines = engines
        self._reader = _sessions(engines.reader)
        self._writer = _sessions(engines.writer)
        self._intake = Intake(engines)

    async def insert(self, record: JobRecord) -> None:
        """Commit a new job. Raises `KeyTaken` or `IdTaken` when its idempotency key or its id names another one."""
        await self._intake.insert(record)

    async def get(self, job_id: str) -> JobRecord | None:
        """Return one job of whomever, None where there is none; a request asks `find`."""
        async with self._read() as session:
            return await session.get(JobRecord, job_id)

    async def find(self, job_id: str, tenant: str) -> JobRecord | None:
        """Return one job of this tenant, None where it has no such job."""
        record = await self.get(job_id)
        return record if record is not None and record.tenant == tenant else None

    async def outlines(self, job_ids: Collection[str], tenant: str) -> list[Outline]:
        """Return what there is of these jobs of this tenant, in no order."""
        query = select(*_OUTLINE).where(_jobs.id.in_(job_ids), _jobs.tenant == tenant)
        async with self._read() as session:
            return [Outline(*row) for row in await session.execute(query)]

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

    async def outlined(self, wanted: JobFilter, *, limit: int) -> list[Outline]:
        """Return the same page without what may be large."""
        async with self._lists() as session:
            if wanted.text is None:
                query = page_query(wanted, limit)
            else:
                query = with_keys(wanted, await search.page_keys(session, wanted, limit))
            return [Outline(*row) for row in await session.execute(query.with_only_columns(*_OUTLINE))]

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

    async def still_open(self, job_ids: Sequence[str]) -> list[JobRecord]:
        """Return those of these jobs that are not done, as far as the records know."""
        return await self._all(select(JobRecord).where(_jobs.id.in_(job_ids), ~_jobs.done).order_by(_jobs.id))

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
            # Locked in the order of ids, as `change` does it: so nobody waits in a circle.
            new = select(_jobs.id).where(_jobs.id.in_(job_ids), _jobs.dispatched_at.is_(None))
            async with self._write() as session:
                found = (await session.scalars(new.order_by(_jobs.id).with_for_update())).all()
                if found:
                    change = update(JobRecord).where(_jobs.id.in_(found))
                    await session.execute(change.values(dispatched_at=at))

    async def change(self, job_ids: Iterable[str], apply: Callable[[Mapping[str, Standing]], None]) -> None:
        """Let `apply` change where these jobs stand, in one transaction in which nobody else changes them."""
        async with self._write() as session:
            connection = await session.connection()
            change = Change(await connection.execute(standings_query(job_ids)))
            apply(change.standings)
            await change.write(connection)

    async def remove_finished(self, *, finished_before: datetime, limit: int) -> int:
        """Delete jobs that ended before that moment, the oldest first, with their tags. Returns how many."""
        old = select(_jobs.id).where(_jobs.done, _jobs.finished_at < finished_before)
        async with self._write() as session:
            # Two statements: PostgreSQL would plan the DELETE of a subquery with LIMIT as a scan of the table.
            ids = (await session.execute(old.order_by(_jobs.finished_at).limit(limit))).scalars().all()
            if ids:
                await session.execute(delete(JobRecord).where(_jobs.id.in_(ids)))
            return len(ids)

    async def delete(self, job_ids: Iterable[str], tenant: str) -> None:
        """Remove these jobs of this tenant, done or not, and all that is kept of them."""
        # Locked in the order of ids, as `change` does it: so nobody waits in a circle.
        mine = (_jobs.id.in_(set(job_ids)), _jobs.tenant == tenant)
        locked = select(_jobs.id).where(*mine).order_by(_jobs.id).with_for_update()
        async with self._write() as session:
            found = (await session.execute(locked)).scalars().all()
            await session.execute(delete(JobRecord).where(_jobs.id.in_(found)))

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
            async with self._engines.turn(), self._writer() as session, session.begin():
                yield session


def _sessions(engine: AsyncEngine) -> async_sessionmaker[AsyncSession]:
    return async_sessionmaker(engine, expire_on_commit=False)
