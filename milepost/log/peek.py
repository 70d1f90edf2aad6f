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


@dataclass(frozen=True, slots=True)
class Peek:
    """A job and the place of its last event, of one moment (one HMGET reads one hash)."""

    job: Job
    cursor: Cursor
    delivery: str
    """What stands in the queue for it while it waits; number 0 of a job that was never in one."""
    tenant: str


async def peek(redis: Redis, job_ids: Sequence[str], *, tenant: str | None = None) -> list[Peek | None]:
    """Return each job as the log has it, None where the log has none: one round trip, and no places in queues.

    With a `tenant` the jobs of others are as if they were not there.
    """
    if not job_ids:
        return []
    async with redis.pipeline(transaction=False) as pipe:
        for job_id in job_ids:
            pipe.hmget(state_key(job_id), ["epoch", "seq", "delivery", "tenant", *STATE_FIELDS])
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
    epoch, seq, delivery, tenant, *state = row
    if epoch is None or seq is None:
        return None
    cursor = Cursor(epoch.decode(), int(seq))
    number = (delivery or b"0").decode()  # older versions ended jobs that were never delivered without one
    return Peek(job_from(job_id, cursor.seq, state), cursor, f"{job_id}.{number}", owner_from(tenant))


async def undelivered(redis: Redis, seen: Sequence[Peek]) -> list[str]:
    """Return the ids of those that wait and stand in no queue: nobody would ever take them."""
    waiting = [one for one in seen if one.job.status in WAITING]
    if not waiting:
        return []
    async with redis.pipeline(transaction=False) as pipe:
        for one in waiting:
            pipe.zscore(queue_key(one.job.queue), one.delivery)
        places = await pipe.execute()
    return [one.job.id for one, place in zip(waiting, places, strict=True) if place is None]
