"""What workers say of themselves: the tasks they offer, that they are there."""

from __future__ import annotations

from typing import Any, cast

import pytest
from redis.asyncio import Redis

from milepost.log import Catalogue, Load, RunningJob, TaskInfo, WorkerInfo
from milepost.log.keys import TASKS, WORKER_INFO, WORKERS
from tests.support.redis import every_redis

pytestmark = every_redis

COUNT = TaskInfo(name="demo.count", description="Zähle.", params_schema={"type": "object"}, max_attempts=3)
TICKER = TaskInfo(name="demo.ticker", timeout_seconds=1.5, queue="slow")


@pytest.fixture
def catalogue(redis: Redis) -> Catalogue:
    return Catalogue(redis)


def worker(name: str) -> WorkerInfo:
    return WorkerInfo(
        id=name,
        host="h",
        pid=1,
        version="0",
        queues=["default"],
        modules=["app.tasks"],
        tasks=["demo.count"],
        concurrency=2,
        started_at="2026-11-21T03:30:00.000Z",
        running=[RunningJob(id="job-1", task="demo.count", attempt=1, since="2026-11-21T03:31:00.000Z")],
        load=Load(slots=0.5, cpu_percent=12.5, memory_bytes=1 << 26, host=0.25),
    )


async def test_what_is_announced_is_read(catalogue: Catalogue) -> None:
    """Every task by name, every worker that is there."""
    await catalogue.announce(worker("b"), [TICKER, COUNT], ttl_seconds=60)
    await catalogue.announce(worker("a"), [], ttl_seconds=60)
    assert await catalogue.tasks() == {"demo.count": COUNT, "demo.ticker": TICKER}
    assert [one.id for one in await catalogue.workers()] == ["a", "b"]
    assert (await catalogue.workers())[0] == worker("a")


async def test_a_worker_that_leaves_is_gone_and_its_tasks_stay(catalogue: Catalogue, redis: Redis) -> None:
    """A job may be submitted while all its workers restart."""
    await catalogue.announce(worker("a"), [COUNT], ttl_seconds=60)
    await catalogue.leave("a")
    assert await catalogue.workers() == []
    assert list(await catalogue.tasks()) == ["demo.count"]
    assert await redis.exists(WORKERS, WORKER_INFO) == 0


async def test_a_worker_that_stops_announcing_is_forgotten(catalogue: Catalogue, redis: Redis) -> None:
    """Its announcement ends by Redis's clock; nothing of it is left behind."""
    await catalogue.announce(worker("dead"), [COUNT], ttl_seconds=60)
    await catalogue.announce(worker("alive"), [COUNT], ttl_seconds=60)
    seconds, _ = await redis.time()
    await redis.zadd(WORKERS, {"dead": seconds * 1000 - 1})
    assert [one.id for one in await catalogue.workers()] == ["alive"]
    assert await cast("Any", redis.hkeys(WORKER_INFO)) == [b"alive"]


async def test_the_latest_announcement_counts(catalogue: Catalogue) -> None:
    """A deploy changes a task; a worker says what it runs now."""
    await catalogue.announce(worker("a"), [COUNT], ttl_seconds=60)
    changed = TaskInfo(name="demo.count", description="Count.")
    await catalogue.announce(worker("a"), [changed], ttl_seconds=60)
    assert await catalogue.tasks() == {"demo.count": changed}
    assert len(await catalogue.workers()) == 1


async def test_an_entry_of_a_newer_worker_is_read(catalogue: Catalogue, redis: Redis) -> None:
    """Members that this version does not know are ignored."""
    await cast("Any", redis.hset(TASKS, "new", '{"name":"new","mood":"good"}'))
    assert await catalogue.tasks() == {"new": TaskInfo(name="new")}
