"""Jobs that Redis has lost come back with what is known of them: attempts that were used up stay used up."""

from __future__ import annotations

import time
from dataclasses import replace

import pytest
from redis.asyncio import Redis

from milepost.job import ErrorCode, JobError, Progress, Status
from milepost.log import JobLog, NewJob, many
from milepost.log.housekeeping import expire_unstarted, settle
from milepost.log.peek import peek, peek_in_line, undelivered
from milepost.log.places import Place
from tests.support.joblog import HALF, check, claimed, history, said, take, waiting_deliveries
from tests.support.redis import every_redis

pytestmark = every_redis
LOST = JobError(code=ErrorCode.LOST, message="Redis lost it.", attempt=2, retryable=True)
BEGAN = "2026-11-21T03:31:00.000Z"


@pytest.fixture
def log(redis: Redis) -> JobLog:
    return JobLog(redis)


def lost(**given: object) -> NewJob:
    base = NewJob(
        id="a", task="t", created_at="2026-11-21T03:30:00.000Z", max_attempts=3, attempt=2, error=LOST
    )
    return replace(base, **given)  # type: ignore[arg-type]


async def test_a_job_that_was_begun_goes_on_with_its_next_attempt(log: JobLog, redis: Redis) -> None:
    """It waits as `retrying` with the error that says why; the next attempt is the third, its beginning the first."""
    new = lost(started_at=BEGAN)
    created = await log.create(new)
    assert created is not None
    assert created.position == 1
    job = (await log.read("a")).job
    assert (job.status, job.attempt, job.started_at, job.error) == ("retrying", 2, BEGAN, LOST)
    claim = await claimed(log, redis, "a")
    assert claim.attempt == 3
    job = (await log.read("a")).job
    assert (job.status, job.started_at) == ("running", BEGAN)
    await said(log, log.reports(claim).end(Status.SUCCEEDED, HALF))
    assert [event.type for event in await history(log, "a")] == ["status", "status", "end"]


async def test_a_job_without_attempts_left_ends_once(log: JobLog, redis: Redis) -> None:
    """Its whole history is one `end`; nobody is given it, and it is forgotten like every other that ended."""
    new = lost(max_attempts=2)
    created = await log.create(new)
    assert created is not None
    assert created.position is None
    view = await check(log, new)
    assert (view.job.status, view.job.attempt, view.job.error) == ("failed", 2, LOST)
    assert await waiting_deliveries(redis) == []
    assert await log.create(new) is None
    assert await redis.pttl("mp:{a}:state") > 0
    assert b"params" not in await redis.hgetall("mp:{a}:state")  # type: ignore[misc]


@pytest.mark.parametrize("version", ["this", "an earlier one"])
async def test_a_job_that_ended_without_a_delivery_is_seen_by_everybody(
    log: JobLog, redis: Redis, version: str
) -> None:
    """It stood in no queue, and is there: for lists and lookups, for a cancel, an end that is given back, a delete."""
    new = lost(max_attempts=2)
    await log.create(new)
    if version == "an earlier one":
        await redis.hdel("mp:{a}:state", "delivery")  # type: ignore[misc]
    view = await log.read("a")
    for [seen] in (await peek(redis, ["a"]), await peek_in_line(redis, ["a"])):
        assert seen is not None
        assert (seen.job, seen.cursor, seen.tenant) == (view.job, view.cursor, view.tenant)
        assert await undelivered(redis, [seen]) == []
    assert await log.cancel("a") == "already_done"
    assert await log.redeliver("a") == "not_waiting"
    assert await expire_unstarted(log, "a") == "begun"
    assert await settle(log, view.job) == "done"
    assert await log.places(["a"]) == [Place(view.cursor, Status.FAILED, "t", "default", None)]
    assert (await check(log, new)).cursor == view.cursor
    assert await many.forget(log, {"a": new.created_at}) == ["forgotten"]


async def test_a_job_that_was_handed_back_waits_with_the_attempts_it_has_used(
    log: JobLog, redis: Redis
) -> None:
    """Two attempts were used up, the third was handed back by a worker that left: it is the third that comes."""
    new = lost(error=None)
    assert await log.create(new)
    assert (await check(log, new)).job.status == "queued"
    assert (await claimed(log, redis, "a")).attempt == 3


async def test_a_retry_that_was_to_wait_still_waits(log: JobLog, redis: Redis) -> None:
    """When it is due is known: it is not begun before."""
    await log.create(lost(due_ms=round(time.time() * 1000) + 3_600_000))
    job = (await log.read("a")).job
    assert job.status == "retrying"
    assert job.run_at is not None
    assert (await take(log)).claims == ()


async def test_the_attempt_that_was_under_way_has_lost_the_job(log: JobLog, redis: Redis) -> None:
    """Its worker hears so at its next word, before and after the job is back, and also when it is taken again."""
    await log.create(lost(attempt=0, error=None))
    old = log.reports(await claimed(log, redis, "a"))
    await redis.flushall()
    assert await said(log, old.renew(1000), old.progress(Progress(current=1))) == ["gone", "gone"]
    await log.create(lost(attempt=1))
    assert await said(log, old.renew(1000), old.progress(Progress(current=1))) == ["refused", "refused"]
    claim = await claimed(log, redis, "a")
    assert claim.fence > old.fence
    assert await said(log, old.renew(1000), old.end(Status.SUCCEEDED, HALF)) == ["refused", "refused"]
    assert (await log.read("a")).job.attempt == 2


async def test_many_at_once_are_each_created_once(log: JobLog, redis: Redis) -> None:
    """More than one round trip's worth, after Redis forgot its scripts; those that are there stay as they are."""
    await log.create(lost(id="job7", attempt=0, error=None))
    await redis.script_flush()
    jobs = [lost(id=f"job{number}", attempt=0, error=None) for number in range(60)]
    created = await log.create_all(jobs)
    assert [number for number, one in enumerate(created) if one is None] == [7]
    assert all(one.position for one in created if one)
    assert await log.create_all(jobs) == [None] * 60
