"""Bare arq: as it comes (poll 0.5 s), or with the shortest poll that is bearable (0.01 s)."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from arq.connections import RedisSettings, create_pool
from arq.worker import Worker

from benchmarks.peers import work
from benchmarks.peers.work import Send


async def noop(ctx: dict[str, Any], total: int) -> None:
    work.count(total)


async def pause(ctx: dict[str, Any], total: int) -> None:
    await asyncio.sleep(0.05)
    work.count(total)


async def stamp(ctx: dict[str, Any]) -> None:
    work.stamp()


@asynccontextmanager
async def sender() -> AsyncIterator[Send]:
    """Yield what puts one job into the queue."""
    pool = await create_pool(RedisSettings.from_dsn(work.URL))

    async def send(name: str, *args: int) -> None:
        await pool.enqueue_job(name, *args)

    yield send
    await pool.aclose()


def main(poll_seconds: float) -> None:
    asyncio.set_event_loop(asyncio.new_event_loop())
    Worker(
        functions=[noop, pause, stamp],
        redis_settings=RedisSettings.from_dsn(work.URL),
        max_jobs=10,
        poll_delay=poll_seconds,
        keep_result=0,
    ).run()


if __name__ == "__main__":
    main(float(sys.argv[1]))
