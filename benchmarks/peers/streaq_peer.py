"""streaq on Redis streams."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio
from streaq import Worker

from benchmarks.peers import work
from benchmarks.peers.work import Send

worker: Worker[None] = Worker(redis_url=work.URL, concurrency=10)


@worker.task
async def noop(total: int) -> None:
    work.count(total)


@worker.task
async def pause(total: int) -> None:
    await anyio.sleep(0.05)
    work.count(total)


@worker.task
async def stamp() -> None:
    work.stamp()


@asynccontextmanager
async def sender() -> AsyncIterator[Send]:
    """Yield what puts one job into the queue."""
    tasks = {"noop": noop, "pause": pause, "stamp": stamp}

    async def send(name: str, *args: int) -> None:
        await tasks[name].enqueue(*args)

    async with worker:
        yield send


if __name__ == "__main__":
    anyio.run(worker.run_async)
