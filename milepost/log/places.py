"""Where jobs stand in their queues: many in one round trip, without the rest of what they are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from milepost.codec import Cursor
from milepost.job import Status, parse_status
from milepost.log.calls import Call
from milepost.log.evaluate import evaluate
from milepost.log.scripts import SCRIPTS

if TYPE_CHECKING:
    from redis.asyncio import Redis


@dataclass(frozen=True, slots=True)
class Place:
    """A job as of its last event, and how many-th it is in its queue, from 1; None unless it waits there."""

    cursor: Cursor
    status: Status | str
    task: str
    queue: str
    position: int | None


async def places(redis: Redis, job_ids: Sequence[str]) -> list[Place | None]:
    """Return where each job stands, None where the log has no such job. All are of one moment."""
    if not job_ids:
        return []
    rows = await evaluate(redis, Call(SCRIPTS["places"], (), tuple(job_ids)))
    return [_place(row) if row else None for row in rows]


def _place(row: Sequence[bytes | int | None]) -> Place:
    epoch, seq, status, task, queue = (str(part, "utf-8") for part in row[:5] if isinstance(part, bytes))
    position = row[5] if len(row) > 5 else None
    return Place(
        cursor=Cursor(epoch, int(seq)),
        status=parse_status(status),
        task=task,
        queue=queue,
        position=position if isinstance(position, int) else None,
    )
