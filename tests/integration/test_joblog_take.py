"""Picking up: a worker takes what is due, all it has slots for, in one round trip."""

from __future__ import annotations

import asyncio

import pytest
from redis.asyncio import Redis

from milepost.job import Status
from milepost.log import Claim, JobLog, Looks, Taken
from milepost.log.keys import LEASES, state_key
from tests.support.joblog import LEASE_SECONDS, created, have_waited, said, take
from tests.support.wait import eventually

pytestmark = pytest.mark.anyio


@pytest.fixture
def log(redis: Redis) -> JobLog:
    return JobLog(redis)


async def ids(log: JobLog, worker: str = "w1", slots: int = 10, *queues: str) -> list[str]:
    return [claim.job_id for claim in (await take(log, worker, slots, *queues)).claims]


async def test_no_two_workers_take_the_same_job(log: JobLog) -> None:
    """Taking begins the attempt."""
    jobs = [(await created(log)).id for _ in range(5)]
    first, rest = await ids(log, "w1", 2), await ids(log, "w2", 10)
    assert len(first) == 2
    assert sorted(first + rest) == sorted(jobs)  # those of one millisecond have no order
    assert await ids(log, "w3") == []


async def test_what_a_claim_holds(log: JobLog) -> None:
    """All that running the job needs; the lease begins with it."""
    new = await created(log, params='{"n":1}', max_attempts=3, timeout_seconds=2.5)
    [claim] = (await take(log)).claims
    fence = claim.fence
    assert claim == Claim(new.id, "t", {"n": 1}, "default", fence, 1, 3, 2.5)
    job = (await log.read(new.id)).job
    assert (job.status, job.attempt) == (Status.RUNNING, 1)
    assert await log.old_leases(lease_seconds=LEASE_SECONDS, silence_seconds=0) == [new.id]


async def test_a_worker_that_lost_the_answer_asks_again(log: JobLog) -> None:
    """Under the same number it is given the same attempts, and no others."""
    job, other = await created(log), await created(log)
    first = await take(log, "w1", 1, number=7)
    again = await take(log, "w1", 1, number=7)
    assert again.claims == first.claims
    assert len(await ids(log, "w1")) == 1
    assert first.claims[0].job_id in {job.id, other.id}


async def test_a_late_twin_of_a_request_takes_nothing(log: JobLog) -> None:
    """It arrives on a connection that was given up, after the worker has asked again and gone on."""
    await created(log)
    assert len((await take(log, "w1", number=2)).claims) == 1
    await created(log)
    assert (await take(log, "w1", number=1)).claims == ()
    assert len((await take(log, "w1", number=3)).claims) == 1


async def test_an_answer_is_repeated_only_for_what_was_not_heard_of(log: JobLog) -> None:
    """An attempt that has reported, or has lost its job, is not given out again."""
    new, other = await created(log), await created(log)
    first, second = (await take(log, number=1)).claims
    await said(log, log.reports(first).log("info", "here", None))
    assert [claim.job_id for claim in (await take(log, number=1)).claims] == [second.job_id]
    await said(log, log.reports(second).release())
    assert (await take(log, number=1)).claims == ()
    assert {first.job_id, second.job_id} == {new.id, other.id}


async def test_the_older_and_the_more_urgent_come_first(log: JobLog) -> None:
    """Whatever the number of slots."""
    jobs = {p: (await created(log, priority=p)).id for p in (0, -10, 10)}
    assert await ids(log, slots=1) == [jobs[10]]
    assert await ids(log, "w2") == [jobs[0], jobs[-10]]


async def test_a_long_line_of_what_cannot_run_holds_nobody_up(log: JobLog) -> None:
    """A few looks find what stands behind 4,500 others, and none of them goes through all of these."""
    now = 0.0
    looks = Looks(clock=lambda: now)
    await asyncio.gather(*(created(log, task="other") for _ in range(4500)))
    mine = await created(log, priority=-1)
    answers: list[Taken] = []
    while not answers or not answers[-1].claims:
        answers.append(await take(log, "w1", 1, looks=looks))
        assert len(answers) < 10
        now += answers[-1].soon_seconds or 0.0
    assert [claim.job_id for claim in answers[-1].claims] == [mine.id]
    assert [0 < (answer.soon_seconds or 0.0) <= 0.22 for answer in answers] == [True, True, False]


async def test_the_front_is_looked_at_every_time(log: JobLog) -> None:
    """However far behind the last look has ended: what is urgent is there."""
    looks = Looks(clock=lambda: 0.0)
    await asyncio.gather(*(created(log, task="other") for _ in range(4500)))
    assert (await take(log, "w1", 1, looks=looks)).claims == ()
    urgent = await created(log, priority=1)
    assert [claim.job_id for claim in (await take(log, "w1", 1, looks=looks)).claims] == [urgent.id]


async def test_a_task_begins_as_often_as_there_is_room_for_it(log: JobLog) -> None:
    """The others of the queue go past it, and it keeps its place."""
    jobs = [(await created(log, task=task, priority=p)).id for p, task in ((3, "a"), (2, "a"), (1, "b"))]
    taken = await take(log, "w1", 10, a=1, b=-1)
    assert [claim.job_id for claim in taken.claims] == [jobs[0], jobs[2]]
    assert (await take(log, "w1", 10, a=0, b=-1)).claims == ()
    assert [claim.job_id for claim in (await take(log, "w1", 10, a=5)).claims] == [jobs[1]]


async def test_what_is_not_ours_is_left_in_the_queue(log: JobLog, redis: Redis) -> None:
    """arq's own jobs have ids of another form."""
    await redis.zadd("mp:queue:default", {"an-arq-job": 0})
    new = await created(log)
    assert await ids(log) == [new.id]
    assert await redis.zcard("mp:queue:default") == 1


async def test_a_delayed_job_is_not_taken_early_and_does_not_wait_behind_later_ones(
    log: JobLog, redis: Redis
) -> None:
    """Once due, it stands in line as if it had been submitted at that moment."""
    delayed = await created(log, delay_ms=40)
    far = await created(log, delay_ms=3_600_000)
    soon = (await take(log)).soon_seconds
    assert soon is not None
    assert soon <= 0.04
    await eventually(lambda: _lined_up(log, redis), "the delayed job is due")
    fresh = await created(log)
    assert await ids(log, "w2", 1) == [delayed.id]
    assert await ids(log, "w3") == [fresh.id]
    assert await redis.zrange("mp:queue:default", 0, -1) == [f"{far.id}.1".encode()]


async def _lined_up(log: JobLog, redis: Redis) -> bool:
    await take(log, "w1", 0)  # a look without a slot
    [(_, near), (_, far)] = await redis.zrange("mp:queue:default", 0, -1, withscores=True)
    return bool(far - near > 10**10)  # not an hour, but 11 days


@pytest.mark.parametrize("days", [0.1, 5, 7, 11])
async def test_a_delayed_job_whose_queue_had_no_worker_keeps_its_turn(
    log: JobLog, redis: Redis, days: float
) -> None:
    """It has come due days ago: what is submitted when the worker comes stands behind it."""
    delayed = await created(log, delay_ms=3_600_000)
    await have_waited(redis, delayed.id, days=days)
    fresh = await created(log)
    assert await ids(log, "w1", 1) == [delayed.id]
    assert await ids(log, "w2") == [fresh.id]


async def test_what_waits_in_line_is_not_lined_up_again(log: JobLog, redis: Redis) -> None:
    """The least urgent stands nearest to what was delayed: a look does not take it for that."""
    await created(log, priority=-10)
    before = await redis.zrange("mp:queue:default", 0, -1, withscores=True)
    await take(log, "w1", 0)
    assert await redis.zrange("mp:queue:default", 0, -1, withscores=True) == before


async def test_a_moment_in_the_past_is_now(log: JobLog) -> None:
    """It does not overtake those who wait."""
    first = await created(log)
    await asyncio.sleep(0.002)  # those of one millisecond have no order
    late = await created(log, due_ms=1000)
    assert await ids(log) == [first.id, late.id]


async def test_the_first_queue_has_priority(log: JobLog) -> None:
    """Whatever the priority of the jobs in the others; what waits in a queue that was not named is not seen."""
    jobs = {queue: (await created(log, queue=queue, priority=p)).id for p, queue in enumerate("abc")}
    assert await ids(log, "w1", 1, "a", "b") == [jobs["a"]]
    assert await ids(log, "w1", 10, "a", "b") == [jobs["b"]]
    assert await ids(log, "w1", 10, "a", "b") == []


async def test_attempts_that_the_worker_has_not_heard_of_have_heartbeats(log: JobLog, redis: Redis) -> None:
    """Those of the request that it waits for, and only those that still are its own and have said nothing."""
    jobs = [(await created(log)).id for _ in range(4)]
    waits, reports, hands_back, other = (await take(log, number=1)).claims
    await take(log, "w2")
    await said(log, log.reports(reports).log("info", "here", None))
    await said(log, log.reports(hands_back).release())
    await redis.zrem(LEASES, other.job_id)  # as the caretaker does it, together with a new status
    await redis.hset(state_key(other.job_id), "status", "retrying")  # type: ignore[misc]
    assert sorted(claim.job_id for claim in (waits, reports, hands_back, other)) == sorted(jobs)
    before = dict(await redis.zrange(LEASES, 0, -1, withscores=True))
    for cover, count in (
        (log.cover("w1", 2, lease_seconds=99), 0),
        (log.cover("w3", 1, lease_seconds=99), 0),
    ):
        assert await log.call(cover) == count
    assert dict(await redis.zrange(LEASES, 0, -1, withscores=True)) == before
    assert await log.call(log.cover("w1", 1, lease_seconds=99)) == 1
    after = dict(await redis.zrange(LEASES, 0, -1, withscores=True))
    assert [job.decode() for job in after if after[job] != before[job]] == [waits.job_id]
