"""Jobs by text: in few reads, whether nearly every job holds it or none does.

A text that many jobs hold is soon found by reading jobs in the order of the list; one that few hold, by the index of
trigrams, which knows no order. Which of the two it is, the first jobs of the list tell.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from sqlalchemy import (
    ARRAY,
    BigInteger,
    ColumnElement,
    Select,
    Text,
    column,
    func,
    literal,
    select,
    table,
    true,
)
from sqlalchemy.ext.asyncio import AsyncSession

from milepost_api.records.derived import SEARCH
from milepost_api.records.listing import (
    COUNTED_MOST,
    STATUSES,
    JobCounts,
    JobFilter,
    at_most,
    beyond,
    conditions,
    in_order,
    keys_query,
)
from milepost_api.records.searchable import MARKED, folded, mark, trigrams
from milepost_api.records.table import JobRecord

WINDOW = 400
"""Jobs that are read in their order before the index is asked: two milliseconds' worth."""
COMMON = 0.05
"""Where more than this part of the window holds the text, all jobs that do are too many to be counted."""

_jobs: Any = JobRecord.__table__.c  # type: ignore[attr-defined]
_sqlite = table(SEARCH, column("rowid", BigInteger), column(SEARCH, Text)).c
_postgres = table(SEARCH, column("sort_key", BigInteger), column("search", Text)).c


async def page_keys(session: AsyncSession, wanted: JobFilter, limit: int) -> list[int]:
    """Return the sort keys of the first `limit` jobs that hold the text."""
    window = list(await session.scalars(keys_query(wanted, WINDOW)))
    found = list(await session.scalars(_held_query(wanted, window, _jobs.sort_key)))[:limit]
    if len(found) < limit and len(window) == WINDOW:
        query = older_query(_dialect(session), wanted, window[-1], limit - len(found))
        found += await session.scalars(query)
    return found


async def counts(session: AsyncSession, wanted: JobFilter) -> JobCounts:
    """Count the jobs that hold the text: exactly, unless there are too many; then of the window only."""
    window = list(await session.scalars(keys_query(wanted, WINDOW)))
    seen = Counter(await session.scalars(_held_query(wanted, window, _jobs.status)))
    if len(window) < WINDOW:
        return JobCounts(dict(seen))
    if seen.total() < COMMON * WINDOW:
        query = indexed_query(_dialect(session), wanted).limit(at_most(COUNTED_MOST + 1))
        found = query.subquery("found")
        if ((await session.scalar(select(func.count()).select_from(found))) or 0) <= COUNTED_MOST:
            rows = await session.execute(_status_query(wanted, found))
            return JobCounts(dict(Counter(status for (status,) in rows if status is not None)))
    # None in the window does not mean none at all: no status has been counted to its end.
    return JobCounts(dict(seen), frozenset(wanted.statuses or STATUSES))


def older_query(dialect: str, wanted: JobFilter, edge: int, limit: int) -> Select[Any]:
    """Return the query for the next keys that follow `edge`, by the index of trigrams.

    First all that the index finds, in order; then each is looked up, until there are enough.
    """
    keys = indexed_query(dialect, wanted)
    if dialect == "postgresql":
        # Two fences for the planner. It would read all jobs in order and look at the text of each: MATERIALIZED; or
        # look up all that the index has found, before it puts them in order: OFFSET.
        held = keys.cte("held").prefix_with("MATERIALIZED")
        key: ColumnElement[int] = held.c.sort_key
        ordered = in_order(select(key).where(beyond(key, edge, wanted)), key, wanted).offset(at_most(0))
    else:
        [key] = keys.selected_columns
        ordered = in_order(keys.where(beyond(key, edge, wanted)), key, wanted)
    found = ordered.subquery("found")
    looked_up = _looked_up(true(), found.c.sort_key, wanted)
    return in_order(select(found.c.sort_key).where(looked_up), found.c.sort_key, wanted).limit(at_most(limit))


def indexed_query(dialect: str, wanted: JobFilter) -> Select[Any]:
    """Return the query for the keys of all jobs that may hold the text, of any tenant."""
    held = indexed_trigrams(wanted)
    if dialect == "postgresql":
        contains = func.milepost_trigrams(_postgres.search).op("@>")(literal(held, ARRAY(Text)))
        return select(_postgres.sort_key).where(contains)
    quoted = (f'"{one}"' for one in (trigram.replace('"', '""') for trigram in held))
    return select(_sqlite.rowid.label("sort_key")).where(_sqlite[SEARCH].op("MATCH")(" AND ".join(quoted)))


def indexed_trigrams(wanted: JobFilter) -> list[str]:
    """Return what the index is asked for: the text, and whatever else of the filter stands in the text of a job."""
    given = (wanted.text, wanted.task, wanted.queue, wanted.tag, wanted.batch)
    held = [trigram for one in given if one for trigram in trigrams(folded(one))]
    if len(wanted.statuses) == 1 and wanted.statuses[0] in MARKED:
        held.append(mark(wanted.statuses[0]))
    return list(dict.fromkeys(held))


def holds(wanted: JobFilter) -> ColumnElement[bool]:
    """Return the condition that a row of `jobs` holds the text, as it stands there."""
    return _jobs.search.contains(folded(wanted.text or ""), autoescape=True)  # type: ignore[no-any-return]


def _held_query(wanted: JobFilter, keys: Sequence[int], shown: ColumnElement[Any]) -> Select[Any]:
    query = select(shown).where(_jobs.sort_key.in_(keys), holds(wanted))
    return in_order(query, _jobs.sort_key, wanted)


def _status_query(wanted: JobFilter, found: Any) -> Select[Any]:
    return select(_looked_up(_jobs.status, found.c.sort_key, wanted)).select_from(found)


def _looked_up(shown: ColumnElement[Any], key: ColumnElement[int], wanted: JobFilter) -> Any:
    """Return what is to be seen of the job with that key if it is wanted, NULL if it is not."""
    # A scalar: it cannot become a join, for which the database might read all jobs.
    row = select(shown).where(_jobs.sort_key == key, holds(wanted), *conditions(wanted)).limit(at_most(1))
    return row.scalar_subquery()


def _dialect(session: AsyncSession) -> str:
    return session.get_bind().dialect.name
