"""Live state of many jobs at once, without their histories: for lists, polls and lookups."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from milepost.codec import Cursor
from milepost.job import WAITING, Job
from milepost.log.keys import queue_key, state_key
from milepost.log.places import Place, places
from milepost.log.state import STATE_FIELDS, job_from, owner_from

if TYPE_CHECKING:
    from redis.asyncio import Redis


OVERDUE_MS = 86_400_000
"""A worker that looks at a queue lines up what was delayed and has come due: for so long that is left to it. A job that
is not lined up is passed, days later, by all that is submitted then.
"""


@dataclass(frozen=True, slots=True)
class Peek:
    """A job and the place of its last event, of one moment (one HMGET reads one hash)."""

    job: Job
    cursor: Cursor
    delivery: str
    """What stands in the queue for it while it waits; number 0 of a job that was never in one."""
    tenant: str
    due_ms: int | None
    """When it may be taken, in ms since 1970; None of a job that was never in a queue."""


async def peek(redis: Redis, job_ids: Sequence[str], *, tenant: str | None = None) -> list[Peek | None]:
    """Return each job as the log has it, None where the log has none: one round trip, and no places in queues.

    With a `tenant` the jobs of others are as if they were not there.
    """
    if not job_ids:
        return []
    async with redis.pipeline(transaction=False) as pipe:
        for job_id in job_ids:
            pipe.hmget(state_key(job_id), ["epoch", "seq", "delivery", "tenant", "due", *STATE_FIELDS])
        rows = await pipe.execute()
    found = [_peek(job_id, row) for job_id, row in zip(job_ids, rows, strict=True)]
    return [one if one and tenant in (None, one.tenant) else None for one in found]


async def peek_in_line(
    redis: Redis, job_ids: Sequence[str], *, tenant: str | None = None
) -> list[Peek | None]:
    """Do the same, and say how many-th in their queues those are that wait: another round trip if any does.

    A job that left its queue in between has no place.
    """
    found = await peek(redis, job_ids, tenant=tenant)
    waiting = [one.job.id for one in found if one is not None and one.job.status in WAITING]
    standing = dict(zip(waiting, await places(redis, waiting), strict=True))
    return [one and _placed(one, standing.get(one.job.id)) for one in found]


def _placed(seen: Peek, place: Place | None) -> Peek:
    if place is None or place.position is None:
        return seen
    return replace(seen, job=replace(seen.job, queue_position=place.position))


def _peek(job_id: str, row: Sequence[bytes | None]) -> Peek | None:
    epoch, seq, delivery, tenant, due, *state = row
    if epoch is None or seq is None:
        return None
    cursor = Cursor(epoch.decode(), int(seq))
    number = (delivery or b"0").decode()  # older versions ended jobs that were never delivered without one
    job, due_ms = job_from(job_id, cursor.seq, state), None if due is None else int(due)
    return Peek(job, cursor, f"{job_id}.{number}", owner_from(tenant), due_ms)


async def undelivered(redis: Redis, seen: Sequence[Peek]) -> list[str]:
    """Return the ids of those that wait and that nobody would ever take.

    They stand in no queue; or still at their moment in one to which no worker came for long after it, behind all that
    was submitted since.
    """
    waiting = [one for one in seen if one.job.status in WAITING]
    if not waiting:
        return []
    async with redis.pipeline(transaction=False) as pipe:
        pipe.time()
        for one in waiting:
            pipe.zscore(queue_key(one.job.queue), one.delivery)
        (seconds, _), *scores = await pipe.execute()
    before = seconds * 1000 - OVERDUE_MS
    return [
        one.job.id
        for one, score in zip(waiting, scores, strict=True)
        if score is None or (score == one.due_ms and score < before)
    ]
