"""Milepost: every event recorded, as always; `milepost worker` loads this module's tasks."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from benchmarks.peers import work
from benchmarks.peers.work import Send
from milepost import task, times
from milepost.codec import dumps
from milepost.ids import new_job_id
from milepost.log import JobLog, NewJob
from milepost.redis import connect


@task(name="noop")
async def noop(total: int) -> None:
    work.count(total)


@task(name="pause")
async def pause(total: int) -> None:
    await asyncio.sleep(0.05)
    work.count(total)


@task(name="stamp")
async def stamp() -> None:
    work.stamp()


@asynccontextmanager
async def sender() -> AsyncIterator[Send]:
    """Yield what puts one job into the queue."""
    redis = connect(work.URL)
    log = JobLog(redis)

    async def send(name: str, *args: int) -> None:
        params = dumps({"total": args[0]} if args else {})
        await log.create(NewJob(id=new_job_id(), task=name, params=params, created_at=times.now()))

    yield send
    await redis.aclose()
