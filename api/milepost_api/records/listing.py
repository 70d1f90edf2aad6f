"""Which jobs a page shows, as a query."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Select, Text, or_, select, type_coerce

from milepost.codec import dumps
from milepost_api.records.table import JobRecord, TagRecord

_jobs: Any = JobRecord.__table__.c  # type: ignore[attr-defined]
_tags: Any = TagRecord.__table__.c  # type: ignore[attr-defined]


@dataclass(frozen=True, slots=True, kw_only=True)
class JobFilter:
    """What to look for; everything given must hold. Ids sort by creation, so a page goes on after an id."""

    statuses: tuple[str, ...] = ()
    task: str | None = None
    queue: str | None = None
    tag: str | None = None
    created_after: datetime | None = None
    created_before: datetime | None = None
    text: str | None = None
    oldest_first: bool = False
    after_id: str | None = None


def page_query(wanted: JobFilter, limit: int) -> Select[Any]:
    """Return the query of one page. Keyset, not offset: page 1000 costs what page 1 costs."""
    query = select(JobRecord).where(*_conditions(wanted)).limit(limit)
    return query.order_by(_jobs.id.asc() if wanted.oldest_first else _jobs.id.desc())


def _conditions(wanted: JobFilter) -> list[ColumnElement[bool]]:
    found: list[ColumnElement[bool]] = []
    if wanted.statuses:
        found.append(_jobs.status.in_(wanted.statuses))
    if wanted.task is not None:
        found.append(_jobs.task == wanted.task)
    if wanted.queue is not None:
        found.append(_jobs.queue == wanted.queue)
    if wanted.tag is not None:
        found.append(_jobs.id.in_(select(_tags.job_id).where(_tags.tag == wanted.tag)))
    if wanted.created_after is not None:
        found.append(_jobs.created_at >= wanted.created_after)
    if wanted.created_before is not None:
        found.append(_jobs.created_at < wanted.created_before)
    if wanted.text is not None:
        found.append(_contains(wanted.text))
    if wanted.after_id is not None:
        found.append(_jobs.id > wanted.after_id if wanted.oldest_first else _jobs.id < wanted.after_id)
    return found


def _contains(text: str) -> ColumnElement[bool]:
    inside_json = dumps(text)[1:-1]  # these columns hold ASCII JSON, where an é is \u00e9
    return or_(
        _jobs.id == text,
        _jobs.task.icontains(text, autoescape=True),
        _text(_jobs.tags).icontains(inside_json, autoescape=True),
        _text(_jobs.metadata).icontains(inside_json, autoescape=True),
        _text(_jobs.error).icontains(inside_json, autoescape=True),
    )


def _text(column: ColumnElement[Any]) -> ColumnElement[str]:
    return type_coerce(column, Text)
