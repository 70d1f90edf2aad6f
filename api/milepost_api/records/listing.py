"""Which jobs a page shows, as queries that read what they show and hardly more."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Integer, Select, bindparam, func, literal, select, true, union_all

from milepost.job import Status
from milepost.tenants import DEFAULT_TENANT
from milepost_api.records.order import sort_key
from milepost_api.records.table import JobRecord, TagRecord

COUNTED_MOST = 10_000
"""Jobs of a status that are counted; of more it is only said that they are more. Counting a million takes seconds."""
STATUSES = tuple(status.value for status in Status)

_jobs: Any = JobRecord.__table__.c  # type: ignore[attr-defined]
_tags: Any = TagRecord.__table__.c  # type: ignore[attr-defined]


@dataclass(frozen=True, slots=True, kw_only=True)
class JobFilter:
    """What to look for; everything given must hold. `after`: the sort key of the last job of the page before."""

    tenant: str = DEFAULT_TENANT
    statuses: tuple[str, ...] = ()
    task: str | None = None
    queue: str | None = None
    tag: str | None = None
    batch: str | None = None
    created_after: datetime | None = None
    created_before: datetime | None = None
    text: str | None = None
    oldest_first: bool = False
    after: int | None = None


@dataclass(frozen=True, slots=True)
class JobCounts:
    """How many jobs there are of each status; of those that are `capped` there are at least so many."""

    by_status: dict[str, int]
    capped: frozenset[str] = frozenset()


def page_query(wanted: JobFilter, limit: int) -> Select[Any]:
    """Return the query of one page, without regard to `text`. Page 1000 costs what page 1 costs."""
    keys = keys_query(wanted, limit).subquery("page")
    return with_keys(wanted, select(keys.c.sort_key))


def with_keys(wanted: JobFilter, keys: Any) -> Select[Any]:
    """Return the query for the jobs with these sort keys, in order."""
    return in_order(select(JobRecord).where(_jobs.sort_key.in_(keys)), _jobs.sort_key, wanted)


def keys_query(wanted: JobFilter, limit: int) -> Select[Any]:
    """Return the query for the first `limit` sort keys, without regard to `text`."""
    parts = [_of_status(wanted, status, limit) for status in wanted.statuses or STATUSES]
    if len(parts) == 1:
        return parts[0]
    merged = union_all(*(_as_part(part) for part in parts)).subquery("merged")
    return in_order(select(merged.c.sort_key), merged.c.sort_key, wanted).limit(at_most(limit))


def counts_query(wanted: JobFilter, most: int = COUNTED_MOST) -> Select[Any]:
    """Return the query for (status, number), a row for each status asked for, none counted further than `most` + 1."""
    counts = []
    for status in wanted.statuses or STATUSES:
        keys = _of_status(wanted, status, most + 1).subquery()
        counts.append(select(literal(status).label("status"), func.count().label("jobs")).select_from(keys))
    merged = union_all(*counts).subquery("counts")
    return select(merged.c.status, merged.c.jobs)


def conditions(wanted: JobFilter) -> list[ColumnElement[bool]]:
    """Return what must hold for a row of `jobs`, without regard to `text` and `after`."""
    found = _equal(_jobs, wanted)
    if wanted.statuses:
        found.append(_jobs.status.in_(wanted.statuses))
    if wanted.tag is not None:
        found.append(_carries(wanted.tag))
    return [*found, *_created(_jobs.sort_key, wanted)]


def in_order(query: Select[Any], key: ColumnElement[int], wanted: JobFilter) -> Select[Any]:
    return query.order_by(key.asc() if wanted.oldest_first else key.desc())


def beyond(key: ColumnElement[int], edge: int, wanted: JobFilter) -> ColumnElement[bool]:
    """Return the condition that a key follows `edge` in the order of the list."""
    return key > edge if wanted.oldest_first else key < edge


def at_most(limit: int) -> Any:
    # Spelled out in the statement: a plan that is made for every limit has to expect a tenth of the table.
    return bindparam(None, limit, Integer, literal_execute=True)


def _of_status(wanted: JobFilter, status: str, limit: int) -> Select[Any]:
    """Return the query for the keys of one status: one stretch of one index.

    An index can give rows in order for one status; for several the database would have to sort all that match.
    """
    # A batch is the smaller set, almost always: its jobs are looked at, and each asked for its tag.
    by_tag = wanted.tag is not None and wanted.batch is None
    columns = _tags if by_tag else _jobs
    found = [*_equal(columns, wanted), columns.status == status, *_created(columns.sort_key, wanted)]
    if by_tag:
        found.append(_tags.tag == wanted.tag)
    elif wanted.tag is not None:
        found.append(_carries(wanted.tag))
    if wanted.after is not None:
        found.append(beyond(columns.sort_key, wanted.after, wanted))
    return in_order(select(columns.sort_key).where(*found), columns.sort_key, wanted).limit(at_most(limit))


def _equal(columns: Any, wanted: JobFilter) -> list[ColumnElement[bool]]:
    names = {"task": wanted.task, "queue": wanted.queue, "batch_id": wanted.batch}
    given = [columns[name] == value for name, value in names.items() if value is not None]
    return [columns.tenant == wanted.tenant, *given]


def _carries(tag: str) -> ColumnElement[bool]:
    # A scalar, not EXISTS: the database would join all jobs that have the tag.
    asked = select(true()).where(_tags.job_id == _jobs.id, _tags.tag == tag).limit(at_most(1))
    return asked.correlate(JobRecord.__table__).scalar_subquery()  # type: ignore[attr-defined]


def _created(key: ColumnElement[int], wanted: JobFilter) -> Iterable[ColumnElement[bool]]:
    if wanted.created_after is not None:
        yield key >= sort_key(wanted.created_after)
    if wanted.created_before is not None:
        yield key < sort_key(wanted.created_before)


def _as_part(query: Select[Any]) -> Select[Any]:
    """SQLite takes no ORDER BY inside of a UNION, unless it is one level down."""
    part = query.subquery()
    return select(part.c.sort_key)
