"""Picking up: a worker takes what is due, all it has slots for, in one round trip."""

from __future__ import annotations

import asyncio

import pytest
from redis.asyncio import Redis

from milepost.log import JobLog, Limits
from tests.support.joblog import created
from tests.support.wait import eventually

pytestmark = pytest.mark.anyio


@pytest.fixture
def log(redis: Redis) -> JobLog:
    return JobLog(redis)


async def take(log: JobLog, worker: str = "w1", slots: int = 10, queue: str = "default") -> list[str]:
    taken, _ = await log.take(queue, worker, slots, cover_seconds=10)
    return [delivery.rpartition(".")[0] for delivery in taken]


async def test_no_two_workers_take_the_same_delivery(log: JobLog) -> None:
    """Until it is claimed, it is covered for the worker that took it."""
    jobs = [(await created(log)).id for _ in range(5)]
    first, rest = await take(log, "w1", 2), await take(log, "w2", 10)
    assert len(first) == 2
    assert sorted(first + rest) == sorted(jobs)  # those of one millisecond have no order
    assert await take(log, "w3") == []


async def test_a_worker_that_lost_the_answer_asks_again(log: JobLog) -> None:
    """It is given the same deliveries: nobody else could be."""
    job = await created(log)
    assert await take(log, "w1") == await take(log, "w1") == [job.id]


async def test_the_older_and_the_more_urgent_come_first(log: JobLog) -> None:
    """Whatever the number of slots."""
    jobs = {p: (await created(log, priority=p)).id for p in (0, -10, 10)}
    assert await take(log, slots=1) == [jobs[10]]
    assert await take(log, "w2") == [jobs[0], jobs[-10]]


async def test_many_covered_deliveries_do_not_hide_a_free_one(log: JobLog) -> None:
    """A worker with one slot finds the 251st behind 250 that others are about to claim."""
    for _ in range(250):
        await created(log)
    assert len(await take(log, "w1", 250)) == 250
    last = await created(log)
    assert await take(log, "w2", 1) == [last.id]


async def test_a_delayed_job_is_not_taken_early_and_does_not_wait_behind_later_ones(log: JobLog) -> None:
    """Once due, it stands in line as if it had been submitted at that moment."""
    delayed = await created(log, delay_ms=40)
    far = await created(log, delay_ms=3_600_000)
    _, soon = await log.take("default", "w1", 10, cover_seconds=10)
    assert soon is not None
    assert soon <= 0.04
    await eventually(lambda: _due(log, delayed.id), "the delayed job is due")
    fresh = await created(log)
    assert await take(log, "w2", 1) == [delayed.id]
    assert await take(log, "w3") == [fresh.id]
    assert far.id not in await take(log, "w4")


async def _due(log: JobLog, job_id: str) -> bool:
    # Looking takes it for `w2`, who may ask again.
    taken, _ = await log.take("default", "w2", 10, cover_seconds=10)
    return f"{job_id}.1" in taken


async def test_a_moment_in_the_past_is_now(log: JobLog) -> None:
    """It does not overtake those who wait."""
    first = await created(log)
    await asyncio.sleep(0.002)  # those of one millisecond have no order
    late = await created(log, due_ms=1000)
    assert await take(log) == [first.id, late.id]


async def test_queues_are_taken_from_one_by_one(log: JobLog, redis: Redis) -> None:
    """What waits in another queue is not seen."""
    await created(log, queue="other")
    assert await take(log) == []
    assert len(await take(log, queue="other")) == 1


async def test_a_task_at_its_limit_is_passed_over_and_keeps_its_place(log: JobLog) -> None:
    """What stands behind it is taken, in order; when there is room again, the oldest of it is next."""
    limits = Limits({"slow": 1})
    slow = [(await created(log, task="slow")).id for _ in range(3)]
    other = (await created(log, task="other")).id
    taken, soon = await log.take("default", "w1", 10, cover_seconds=10, limits=limits)
    assert [delivery.rpartition(".")[0] for delivery in taken] == [min(slow), other]
    assert soon is None
    limits.ended(taken[0])
    again, _ = await log.take("default", "w1", 10, cover_seconds=10, limits=limits, under_way=taken)
    assert [delivery.rpartition(".")[0] for delivery in again] == [sorted(slow)[1]]


async def test_a_long_line_of_a_task_at_its_limit_holds_nobody_up(log: JobLog) -> None:
    """A few looks find what stands behind 4,500 of it, none of which goes through all of them."""
    limits, now = Limits({"slow": 1}), [0.0]
    limits._clock = lambda: now[0]
    await asyncio.gather(*(created(log, task="slow") for _ in range(4500)))
    await asyncio.sleep(0.002)  # those of one millisecond have no order
    other = (await created(log, task="other")).id
    found, looks = list[str](), 0
    while f"{other}.1" not in found:
        taken, soon = await log.take("default", "w1", 10, cover_seconds=10, limits=limits, under_way=found)
        found += taken
        looks += 1
        assert looks < 10
        assert soon is None or soon <= 0.21
        now[0] += soon or 0.0
    assert len(found) == 2
    assert looks == 3


async def test_each_worker_has_limits_of_its_own(log: JobLog) -> None:
    """What one passes over another may take."""
    jobs = {(await created(log, task="slow")).id for _ in range(2)}
    taken = set[str]()
    for worker in ("w1", "w2"):
        deliveries, _ = await log.take("default", worker, 10, cover_seconds=10, limits=Limits({"slow": 1}))
        taken |= {delivery.rpartition(".")[0] for delivery in deliveries}
    assert taken == jobs
