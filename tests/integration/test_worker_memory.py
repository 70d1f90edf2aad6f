"""Twenty thousand jobs through one worker: neither it nor Redis holds on to what is over."""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from collections.abc import AsyncIterator

import psutil
import pytest
from redis.asyncio import Redis

from milepost.log.keys import LIFECYCLE
from tests.support.wait import eventually
from tests.support.workers import Fleet

pytestmark = pytest.mark.anyio

WARM, JOBS = 2_000, 20_000
MOST_GROWTH_BYTES = 10 * 1024 * 1024
EVENTS_PER_JOB = 3  # queued, running, end
RETENTION_MS = 86_400_000


async def run_jobs(fleet: Fleet, count: int) -> None:
    """Submit so many and wait for their ends; at most a thousand wait at a time."""
    for _ in range(count // 1000):
        before = await fleet.redis.xlen(LIFECYCLE)
        await asyncio.gather(*(fleet.submit("t.add", {"a": 1}) for _ in range(1000)))
        wanted = before + 1000 * EVENTS_PER_JOB
        await eventually(lambda: _has(fleet.redis, wanted), "a thousand jobs have ended")  # noqa: B023


async def _has(redis: Redis, events: int) -> bool:
    return int(await redis.xlen(LIFECYCLE)) == events


async def names(redis: Redis) -> AsyncIterator[tuple[str, str]]:
    """Yield every key, and its name with the ids of jobs and workers left out."""
    async for raw in redis.scan_iter(count=1000):
        key = raw.decode()
        yield key, re.sub(r"\{[^}]*\}|(?<=mp:taken:).*", "*", key)


@pytest.mark.slow
@pytest.mark.timeout(300)
async def test_memory_stays_where_it_was(fleet: Fleet) -> None:
    """What a finished job leaves in Redis ends with its retention, and nothing has arq's names."""
    await fleet.redis.flushall()
    worker = await fleet.worker(log_level="warning")
    process = psutil.Process(worker.pid)
    await run_jobs(fleet, WARM)
    warm = process.memory_info().rss
    await run_jobs(fleet, JOBS - WARM)
    growth = process.memory_info().rss - warm
    print(f"{JOBS - WARM:,} jobs: {growth / 1024 / 1024:+.1f} MB in the worker")
    assert growth < MOST_GROWTH_BYTES

    found = Counter[str]()
    async with fleet.redis.pipeline(transaction=False) as pipe:
        async for key, name in names(fleet.redis):
            found[name] += 1
            if "*" in name:
                pipe.pttl(key)
        kept = await pipe.execute()
    assert {name for name in found if name.startswith("arq")} == set()
    assert found == {
        "mp:*:state": JOBS,
        "mp:*:events": JOBS,
        "mp:taken:*": 1,
        "mp:generation": 1,
        "mp:lifecycle": 1,  # the recorder empties it
        "mp:tasks": 1,
        "mp:workers": 1,
        "mp:workers:info": 1,
    }
    assert all(0 < ms <= RETENTION_MS for ms in kept)
