"""Redis comes back without what it had acknowledged: a failover, a disk that lagged behind, a flush."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from redis.asyncio import Redis

from milepost.job import Progress, Status
from milepost.log import JobLog
from tests.support.joblog import HALF, check, claimed, created, history, said
from tests.support.redis import RedisServer, binaries, every_redis

pytestmark = every_redis


@pytest.fixture
def redis_server(tmp_path: Path, redis_kind: str) -> Iterator[RedisServer]:
    """A server that forgets at a kill what SAVE has not written."""
    with RedisServer(tmp_path / "redis", binary=binaries()[redis_kind], appendonly=False) as running:
        yield running


@pytest.fixture
def log(redis: Redis) -> JobLog:
    return JobLog(redis)


def forget(server: RedisServer) -> None:
    """Lose everything since the last SAVE."""
    server.restart(signal.SIGKILL)


async def test_a_lost_tail_begins_another_history(
    redis_server: RedisServer, log: JobLog, redis: Redis
) -> None:
    """Readers may have seen what is lost: their cursors are of the old epoch, and they start again."""
    new = await created(log)
    reports = log.reports(await claimed(log, redis, new.id))
    await said(log, reports.progress(Progress(current=1)))
    await redis.save()
    await said(log, reports.progress(Progress(current=2)), reports.progress(Progress(current=3)))
    seen = (await log.read(new.id)).cursor
    forget(redis_server)
    assert await said(log, reports.progress(Progress(current=4))) == ["ok"]
    view = await log.read(new.id, seen)
    assert (view.gap, view.job.progress.current) == ("epoch", 4)
    assert view.cursor.epoch != seen.epoch
    assert await said(log, reports.end(Status.SUCCEEDED, HALF)) == ["ok"]
    assert (await check(log, new)).cursor.epoch == view.cursor.epoch


async def test_a_reply_that_was_lost_is_no_lost_tail(
    redis_server: RedisServer, log: JobLog, redis: Redis
) -> None:
    """What was sent again because nobody answered goes on in the same history."""
    new = await created(log)
    reports = log.reports(await claimed(log, redis, new.id))
    first, second = reports.progress(Progress(current=1)), reports.progress(Progress(current=2))
    await said(log, first)
    await redis.save()
    seen = (await log.read(new.id)).cursor
    forget(redis_server)
    assert await said(log, first, second) == ["duplicate", "ok"]
    assert (await log.read(new.id, seen)).gap is None
    await check(log, new)


async def test_a_claim_that_was_lost_is_fenced_off(
    redis_server: RedisServer, log: JobLog, redis: Redis
) -> None:
    """The first worker still runs; Redis knows nothing of it and gives the job to another: only that one counts."""
    new = await created(log)
    await redis.save()
    zombie = log.reports(await claimed(log, redis, new.id, "w1"))
    await said(log, zombie.progress(HALF), zombie.progress(HALF))
    forget(redis_server)
    assert await said(log, zombie.progress(HALF)) == ["refused"]
    fresh = log.reports(await claimed(log, redis, new.id, "w2"))
    assert await said(log, zombie.progress(HALF), zombie.end(Status.FAILED, HALF)) == ["refused", "refused"]
    assert await said(log, fresh.progress(HALF), fresh.end(Status.SUCCEEDED, HALF)) == ["ok", "ok"]
    assert (await check(log, new)).job.status == Status.SUCCEEDED


async def test_a_job_that_was_lost_is_created_again_in_another_epoch(
    redis_server: RedisServer, log: JobLog, redis: Redis
) -> None:
    """The dispatcher still has its row; the worker of the lost one is refused."""
    new = await created(log)
    zombie = log.reports(await claimed(log, redis, new.id))
    seen = (await log.read(new.id)).cursor
    forget(redis_server)
    assert await said(log, zombie.progress(HALF)) == ["gone"]
    assert await log.create(new)
    assert (await log.read(new.id, seen)).gap == "epoch"
    fresh = log.reports(await claimed(log, redis, new.id, "w2"))
    assert await said(log, zombie.end(Status.FAILED, HALF), fresh.end(Status.SUCCEEDED, HALF)) == [
        "refused",
        "ok",
    ]
    await check(log, new)
    assert [event.type for event in await history(log, new.id)] == ["status", "status", "end"]
