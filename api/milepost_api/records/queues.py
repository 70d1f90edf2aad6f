"""How much each queue holds, as a query."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Select, and_, func, or_, select

from milepost.job import Status
from milepost_api.records.table import JobRecord

_jobs: Any = JobRecord.__table__.c  # type: ignore[attr-defined]


@dataclass(frozen=True, slots=True)
class QueueCounts:
    """The jobs of a queue that are not done, and since when the one that waits longest has waited."""

    name: str
    waiting: int
    scheduled: int
    running: int
    oldest: datetime | None


def queues_query(now: datetime) -> Select[Any]:
    """Return the query that counts them, a row for each queue that has any."""
    running = _jobs.status == Status.RUNNING.value
    due = or_(_jobs.run_at.is_(None), _jobs.run_at <= now)
    waits, since = and_(~running, due), func.coalesce(_jobs.run_at, _jobs.created_at)
    columns = (
        func.count().filter(waits),
        func.count().filter(and_(~running, ~due)),
        func.count().filter(running),
        func.min(since).filter(waits),
    )
    return select(_jobs.queue, *columns).where(~_jobs.done).group_by(_jobs.queue)
