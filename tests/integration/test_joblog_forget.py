"""Forgetting a job that has ended: all of it, for good, and nothing of one that has not."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from redis.asyncio import Redis

from milepost.errors import JobNotFound
from milepost.job import NO_PROGRESS, Status
from milepost.log import JobLog, NewJob, many
from milepost.log.evaluate import AT_ONCE
from milepost.log.keys import result_key
from tests.support.joblog import claimed, created, history, said
from tests.support.redis import every_redis

pytestmark = every_redis


@pytest.fixture
def log(redis: Redis) -> JobLog:
    return JobLog(redis, retention_seconds=600)


async def ended(log: JobLog, redis: Redis, job_id: str, result: str = "null", **given: Any) -> NewJob:
    new = await created(log, id=job_id, **given)
    reports = log.reports(await claimed(log, redis, new.id))
    assert await said(log, reports.end(Status.SUCCEEDED, NO_PROGRESS, result=result)) == ["ok"]
    return new


async def keys_of(redis: Redis, job_id: str) -> set[bytes]:
    return {key async for key in redis.scan_iter(match=f"*{job_id}*")}


async def test_nothing_of_a_forgotten_job_is_left(log: JobLog, redis: Redis) -> None:
    """State, history and a large result go; a note that it is gone stays for two minutes."""
    new = await ended(log, redis, "one", result='"' + "x" * 20_000 + '"')
    assert await many.forget(log, {"one": new.created_at}) == ["forgotten"]
    assert await keys_of(redis, "one") == {b"mp:{one}:forgotten"}
    assert 0 < await redis.pttl("mp:{one}:forgotten") <= many.REMEMBERED_MS
    with pytest.raises(JobNotFound):
        await log.read("one")


async def test_a_job_that_lives_is_not_forgotten(log: JobLog, redis: Redis) -> None:
    """Waiting or running, it stays; among many, each is judged by itself."""
    await created(log, id="waits")
    await created(log, id="runs")
    await claimed(log, redis, "runs")
    done = await ended(log, redis, "done")
    moments = {"waits": done.created_at, "done": done.created_at, "runs": done.created_at, "never": None}
    assert await many.forget(log, moments) == ["living", "forgotten", "living", "gone"]
    assert await many.statuses(redis, list(moments)) == ["queued", None, "running", None]


async def test_whoever_has_read_its_record_before_cannot_bring_it_back(log: JobLog, redis: Redis) -> None:
    """A dispatcher that is a moment late runs nothing twice."""
    new = await ended(log, redis, "one")
    await many.forget(log, {"one": new.created_at})
    assert await log.create(new) is None
    assert await many.statuses(redis, ["one"]) == [None]


async def test_a_later_job_may_have_the_same_id(log: JobLog, redis: Redis) -> None:
    """It is told from the forgotten one by when it was created."""
    new = await ended(log, redis, "one")
    await many.forget(log, {"one": new.created_at})
    assert await log.create(NewJob(id="one", task="t", created_at="2026-11-21T03:30:00.001Z")) is not None


LATER, EARLIER = "2099-01-01T00:00:00.000Z", "2001-01-01T00:00:00.000Z"


@pytest.mark.parametrize("moment", [LATER, EARLIER])
async def test_a_forget_that_is_said_again_leaves_the_next_job_of_that_id_alone(
    log: JobLog, redis: Redis, moment: str
) -> None:
    """Its answer was lost, and the client repeats it: the next job waits, runs and has ended, and keeps all it has.

    That one may have been accepted by an API whose clock is behind.
    """
    first = await ended(log, redis, "one")
    assert await many.forget(log, {"one": first.created_at}) == ["forgotten"]
    again = {"one": first.created_at}
    await created(log, id="one", created_at=moment)
    assert await many.forget(log, again) == ["gone"]
    reports = log.reports(await claimed(log, redis, "one"))
    assert await many.forget(log, again) == ["gone"]
    result = '"' + "x" * 20_000 + '"'
    assert await said(log, reports.end(Status.SUCCEEDED, NO_PROGRESS, result=result)) == ["ok"]
    assert await many.forget(log, again) == ["gone"]
    view = await log.read("one")
    assert (view.job.status, view.job.created_at) == ("succeeded", moment)
    assert len(await history(log, "one")) == view.cursor.seq == 3
    assert await log.result("one") == result.encode()


async def test_a_forget_that_is_said_again_brings_no_later_job_back(log: JobLog, redis: Redis) -> None:
    """The next job of that id was forgotten as well meanwhile: that is not unsaid."""
    first = await ended(log, redis, "one")
    await many.forget(log, {"one": first.created_at})
    later = await ended(log, redis, "one", created_at=LATER)
    assert await many.forget(log, {"one": LATER}) == ["forgotten"]
    assert await many.forget(log, {"one": first.created_at}) == ["gone"]
    assert await log.create(later) is None


async def test_a_later_job_takes_the_place_of_one_whose_record_was_deleted_alone(
    log: JobLog, redis: Redis
) -> None:
    """A delete was cut off between record and log: the next job with that id is its own, and runs."""
    left = await ended(log, redis, "one", result='"' + "x" * 20_000 + '"')
    later = replace(left, created_at="2099-01-01T00:00:00.000Z", tenant="other")
    assert await log.create(later) is not None
    view = await log.read("one")
    assert (view.job.status, view.job.created_at, view.job.result_omitted) == (
        "queued",
        later.created_at,
        False,
    )
    assert await redis.exists(result_key("one")) == 0
    assert await log.create(left) is None  # whoever still brings the earlier one changes nothing
    assert (await log.read("one")).cursor == view.cursor


async def test_a_later_job_does_not_take_the_place_of_one_that_lives(log: JobLog, redis: Redis) -> None:
    """Its worker would report to another job."""
    first = await created(log, id="one")
    assert await log.create(replace(first, created_at="2099-01-01T00:00:00.000Z")) is None
    assert (await log.read("one")).job.created_at == first.created_at


async def test_many_are_cancelled_in_few_round_trips(log: JobLog, redis: Redis) -> None:
    """Those that wait end, those that run are asked, and the rest is said to be what it is."""
    ids = [(await created(log)).id for _ in range(2 * AT_ONCE + 1)]
    await created(log, id="runs")
    await claimed(log, redis, "runs")
    await ended(log, redis, "done")
    outcomes = await many.cancel(log, [*ids, "runs", "done", "never"], "default")
    assert outcomes == ["cancelled"] * len(ids) + ["requested", "already_done", None]
    assert await many.cancel(log, ["runs"], "somebody-else") == [None]
    assert await many.statuses(redis, ids) == [Status.CANCELLED] * len(ids)
