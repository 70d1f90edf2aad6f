"""`milepost worker tests.support.tasks.author`: tasks that use what their authors are offered."""

from __future__ import annotations

import asyncio
import logging
import time
from pathlib import Path
from typing import Any

from milepost import Retry, progress, task


def _note(marks: str, line: str) -> None:
    with Path(marks).open("a", encoding="utf-8") as file:
        file.write(line + "\n")


def _wait_for(path: str) -> None:
    while not Path(path).exists() and not progress.cancelled:
        time.sleep(0.01)


@task(name="t.checkpoint_retry", max_attempts=3, backoff=0.0)
def checkpoint_retry() -> list[Any]:
    """Go on where the last attempt stood; a checkpoint a microsecond before each end."""
    begun: list[Any] = progress.last_checkpoint or []
    for n in range(1000):
        progress.checkpoint([*begun, n])
    if len(begun) < 2:
        raise Retry(after=0)
    return begun


@task(name="t.checkpoint_wait")
async def checkpoint_wait(marks: str, go: str) -> Any:
    """Count files of work; say where it stood when it is told to leave."""
    stood = progress.last_checkpoint
    _note(marks, f"ran {stood}")
    progress.checkpoint("begun")
    progress.output("begun")
    try:
        await asyncio.to_thread(_wait_for, go)
    except asyncio.CancelledError:
        progress.checkpoint("told to leave")
        raise
    return stood


@task(name="t.logging")
async def logs() -> None:
    """Say something in the way of any library."""
    logging.getLogger("shop.orders").info("order %d", 3)
    logging.getLogger("shop.orders").debug("too much to tell")
    logging.getLogger("redis").error("not the job's")


@task(name="t.process", process=True)
def process() -> None:
    """Loops, logging and threads in a process of its own."""
    for _ in progress.tqdm(range(2), desc="Files", unit="files"):
        for row in progress.tqdm(range(4), desc="Rows"):
            if row == 2:
                logging.getLogger("shop.orders").warning("half")
    progress.checkpoint("all")


@task(name="t.executor")
async def executor() -> None:
    """Count in the loop's own pool of threads."""
    loop = asyncio.get_running_loop()
    progress(0, 20)
    await asyncio.gather(*(loop.run_in_executor(None, _count) for _ in range(20)))


def _count() -> None:
    time.sleep(0.001)
    progress.advance()
