"""Celery on Redis, ten threads, no results kept."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from celery import Celery

from benchmarks.peers import work
from benchmarks.peers.work import Send

app = Celery("bench", broker=work.URL)
app.conf.update(
    task_ignore_result=True, worker_prefetch_multiplier=4, broker_connection_retry_on_startup=True
)


@app.task(name="noop")
def noop(total: int) -> None:
    work.count(total)


@app.task(name="pause")
def pause(total: int) -> None:
    time.sleep(0.05)
    work.count(total)


@app.task(name="stamp")
def stamp() -> None:
    work.stamp()


@asynccontextmanager
async def sender() -> AsyncIterator[Send]:
    """Yield what puts one job into the queue."""

    async def send(name: str, *args: int) -> None:
        app.send_task(name, args)  # blocks for one round trip: nobody else is on this loop

    yield send


if __name__ == "__main__":
    app.worker_main(["worker", "--pool=threads", "--concurrency=10", "--loglevel=error", "--without-gossip"])
