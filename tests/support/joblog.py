"""Short ways to say what happens to a job, for tests of the log."""

from __future__ import annotations

import asyncio
import itertools
import json
from dataclasses import replace
from functools import reduce
from typing import Any, cast

from redis.asyncio import Redis
from redis.asyncio.client import PubSub

from milepost.codec import Cursor
from milepost.events import Event, from_wire
from milepost.fold import fold
from milepost.ids import new_job_id
from milepost.job import Job, JobError, Progress
from milepost.log import Call, Claim, JobLog, Looks, NewJob, Taken, View
from milepost.log.keys import LEASES, queue_key, state_key
from tests.support.schemas import check_event
from tests.support.wait import DEADLINE_SECONDS, eventually

CREATED_AT = "2026-11-21T03:30:00.000Z"
LEASE_SECONDS, SILENCE_SECONDS = 12.0, 6.0
HALF = Progress(current=5, total=10, percent=50)
BROKEN = JobError(code="exception", message="It broke.", type="ValueError", attempt=1, retryable=True)


async def created(log: JobLog, **given: Any) -> NewJob:
    """Create a job of the task `t` and return what it was made of."""
    job = NewJob(**({"id": new_job_id(), "task": "t", "created_at": CREATED_AT} | given))
    assert await log.create(job)
    return job


async def state_of(redis: Redis, job_id: str, field: str) -> str:
    """Return one field of the state hash."""
    raw: bytes = await cast("Any", redis.hget(state_key(job_id), field))
    return raw.decode()


async def delivery_of(redis: Redis, job_id: str) -> str:
    """Return the number of the delivery that counts."""
    return await state_of(redis, job_id, "delivery")


async def have_waited(redis: Redis, job_id: str, *, days: float) -> None:
    """Let a delayed job have been due for so long without a worker's look: its moment is moved, not the clock."""
    queue, number = await state_of(redis, job_id, "queue"), await delivery_of(redis, job_id)
    seconds, _ = await redis.time()
    due = (seconds - round(days * 86_400)) * 1000
    await cast("Any", redis.hset(state_key(job_id), "due", due))
    assert await redis.zadd(queue_key(queue), {f"{job_id}.{number}": due}, xx=True, ch=True) == 1


_requests = itertools.count(1000)  # above those that tests choose


async def take(
    log: JobLog,
    worker: str = "w1",
    slots: int = 10,
    *queues: str,
    number: int | None = None,
    looks: Looks | None = None,
    **room: int,
) -> Taken:
    """Take what is due in `queues` for a worker that knows the task `t`, or those that `room` names."""
    return await log.take(
        queues or ("default",),
        worker,
        slots,
        number=next(_requests) if number is None else number,
        lease_seconds=LEASE_SECONDS,
        room=room or {"t": -1},
        looks=looks,
    )


async def claim(
    log: JobLog,
    redis: Redis,
    job_id: str,
    worker: str = "w1",
    *,
    task: str = "t",
    lease_seconds: float = LEASE_SECONDS,
) -> Claim | None:
    """Take this very job if it waits, out of a line of its own: others may do the same at the same time."""
    if not await redis.exists(state_key(job_id)):
        return None  # committed, and on its way here
    queue, apart = await state_of(redis, job_id, "queue"), f"apart-{job_id}"
    delivery = f"{job_id}.{await delivery_of(redis, job_id)}"
    score = await redis.zscore(queue_key(queue), delivery)
    if score is None or not await redis.zrem(queue_key(queue), delivery):
        return None
    await redis.zadd(queue_key(apart), {delivery: 0})
    taken = await log.take(
        (apart,), worker, 1, number=next(_requests), lease_seconds=lease_seconds, room={task: -1}
    )
    if await redis.zrem(queue_key(apart), delivery):
        await redis.zadd(queue_key(queue), {delivery: score})
    return taken.claims[0] if taken.claims else None


async def claimed(log: JobLog, redis: Redis, job_id: str, worker: str = "w1", **given: Any) -> Claim:
    """Do the same, and insist: a dispatcher that sees the job on its way to its own line delivers it again."""
    return await eventually(lambda: claim(log, redis, job_id, worker, **given), "the job waits")


async def said(log: JobLog, *calls: Call) -> list[str]:
    """Send reports one by one and return the answers."""
    return [(await log.call(call)).decode() for call in calls]


async def lapse(log: JobLog, redis: Redis, job_id: str, *, silent_seconds: float) -> str:
    """Look at the lease as if the worker had been silent for so long: its end is moved, not the clock."""
    seconds, micros = await redis.time()
    now_ms = seconds * 1000 + micros // 1000
    if await redis.zscore(LEASES, job_id) is not None:
        ends = now_ms + round((LEASE_SECONDS - silent_seconds) * 1000)
        await redis.zadd(LEASES, {job_id: ends})
    return await log.lapse(job_id, lease_seconds=LEASE_SECONDS, silence_seconds=SILENCE_SECONDS)


async def raw_history(log: JobLog, job_id: str) -> list[dict[str, Any]]:
    """Return every event since the beginning, page by page, each held against its schema."""
    view = await log.read(job_id)
    wires: list[dict[str, Any]] = []
    after = Cursor(view.cursor.epoch, 0)
    while True:
        view = await log.read(job_id, after)
        assert view.gap is None
        for entry in view.entries:
            wire = json.loads(entry.data)
            assert (entry.kind, entry.seq) == (wire["type"], wire["seq"])
            check_event(wire)
            wires.append(wire)
        if not view.more:
            return wires
        after = Cursor(view.cursor.epoch, view.entries[-1].seq)


async def history(log: JobLog, job_id: str) -> list[Event]:
    """Return every event since the beginning."""
    return [event for wire in await raw_history(log, job_id) if isinstance(event := from_wire(wire), Event)]


def folded(new: NewJob, events: list[Event]) -> Job:
    """Return what a client that saw every event from the first has."""
    job = Job(
        id=new.id,
        task=new.task,
        queue=new.queue,
        priority=new.priority,
        max_attempts=new.max_attempts,
        tags=tuple(new.tags),
        metadata=new.metadata,
        created_at=new.created_at,
        batch_id=new.batch_id,
        parent_id=new.parent_id,
        retry_of=new.retry_of,
    )
    return reduce(fold, events, job)


def without_clocks(job: Job) -> Job:
    """Return the job without what no event of its history carries: heartbeats, its place, when it will be forgotten."""
    return replace(job, heartbeat_at=None, queue_position=None, expires_at=None)


async def check(log: JobLog, new: NewJob) -> View:
    """The laws: dense numbers, state equals folded history, one end and nothing after it."""
    view = await log.read(new.id)
    events = await history(log, new.id)
    assert [event.seq for event in events] == list(range(1, view.cursor.seq + 1))
    assert without_clocks(view.job) == folded(new, events)
    ends = [event.seq for event in events if event.type == "end"]
    assert ends == ([view.cursor.seq] if view.job.done else [])
    return view


async def waiting_deliveries(redis: Redis, queue: str = "default") -> list[str]:
    """Return the deliveries in a queue, in the order in which arq takes them."""
    return [raw.decode() for raw in await redis.zrange(queue_key(queue), 0, -1)]


async def heard(pubsub: PubSub, count: int) -> list[dict[str, Any]]:
    """Return the next messages of a subscription, its acknowledgement included; waits for them."""
    messages: list[dict[str, Any]] = []
    async with asyncio.timeout(DEADLINE_SECONDS):
        async for message in pubsub.listen():
            messages.append(message)
            if len(messages) == count:
                break
    return messages
