"""saq on Redis."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from saq import Queue, Worker

from benchmarks.peers import work
from benchmarks.peers.work import Send


async def noop(ctx: dict[str, Any], *, total: int) -> None:
    work.count(total)


async def pause(ctx: dict[str, Any], *, total: int) -> None:
    await asyncio.sleep(0.05)
    work.count(total)


async def stamp(ctx: dict[str, Any]) -> None:
    work.stamp()


@asynccontextmanager
async def sender() -> AsyncIterator[Send]:
    """Yield what puts one job into the queue."""
    queue = Queue.from_url(work.URL)
    await queue.connect()

    async def send(name: str, *args: int) -> None:
        await queue.enqueue(name, **({"total": args[0]} if args else {}))

    yield send
    await queue.disconnect()


async def main() -> None:
    worker = Worker(Queue.from_url(work.URL), functions=[noop, pause, stamp], concurrency=10)
    await worker.start()


if __name__ == "__main__":
    asyncio.run(main())
