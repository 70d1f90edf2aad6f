"""Where a job stands as its record has it: the columns that events of the log change, read and written in bulk.

Without SQLModel's objects: thousands of rows a second pass through here, and most of a row is of no interest.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from datetime import datetime
from typing import Any

from sqlalchemy import Select, Update, bindparam, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from milepost_api.records.searchable import searchable_end
from milepost_api.records.table import JobRecord

_table: Any = JobRecord.__table__  # type: ignore[attr-defined]


@dataclass(slots=True)
class Standing:
    """The second half of a `JobRecord`. What an end brings is not read, only written: it may be large."""

    id: str
    status: str
    done: bool
    cancel_requested: bool
    epoch: str | None
    version: int
    attempt: int
    run_at: datetime | None
    started_at: datetime | None
    finished_at: datetime | None
    dispatched_at: datetime | None
    updated_at: datetime | None
    error: dict[str, Any] | None
    created_at: datetime
    progress: dict[str, Any] | None = None
    result: str | None = None
    traceback: str | None = None
    expires_at: datetime | None = None


_ENDING = ("finished_at", "progress", "result", "traceback", "expires_at", "done")
_WRITTEN_ONLY = ("progress", "result", "traceback", "expires_at")
_READ = tuple(field.name for field in fields(Standing) if field.name not in _WRITTEN_ONLY)
_NAMES = tuple(field.name for field in fields(Standing) if field.name not in ("id", "created_at"))
_MOVING = tuple(name for name in _NAMES if name not in _ENDING)


def _statement(names: Iterable[str]) -> Update:
    # The names of parameters must not be those of columns: SQLAlchemy wants these for itself.
    return (
        update(_table)
        .where(_table.c.id == bindparam("this_id"))
        .values({name: bindparam(f"new_{name}") for name in names})
    )


_MOVE = _statement(_MOVING)
_END = _statement(_NAMES).values(search=_table.c.search + bindparam("more_search"))


def standings_query(job_ids: Iterable[str]) -> Select[Any]:
    """Return the query for these rows, locked."""
    # In the order of ids: two recorders that lock the same rows must not wait for each other.
    columns = (_table.c[name] for name in _READ)
    return (
        select(*columns).where(_table.c.id.in_(sorted(set(job_ids)))).order_by(_table.c.id).with_for_update()
    )


class Change:
    """Remembers how rows were, so that only what has changed is written."""

    def __init__(self, rows: Iterable[Sequence[Any]]) -> None:
        self.standings: Mapping[str, Standing] = {row[0]: Standing(*row) for row in rows}
        self._before = {job_id: replace(standing) for job_id, standing in self.standings.items()}

    async def write(self, connection: AsyncConnection) -> None:
        """Write it: at most one statement for jobs that end and one for all others."""
        changed = [one for one in self.standings.values() if one != self._before[one.id]]
        # What had ended before is only moved: what an end brings was not read, and is written once.
        ends = {one.id for one in changed if one.done and not self._before[one.id].done}
        moved = [_parameters(one, _MOVING) for one in changed if one.id not in ends]
        ended = [
            {**_parameters(one, _NAMES), "more_search": searchable_end(one.status, one.progress, one.error)}
            for one in changed
            if one.id in ends
        ]
        for statement, rows in ((_MOVE, moved), (_END, ended)):
            if rows:
                await connection.execute(statement, rows)


def _parameters(standing: Standing, names: Iterable[str]) -> dict[str, Any]:
    return {"this_id": standing.id, **{f"new_{name}": getattr(standing, name) for name in names}}
