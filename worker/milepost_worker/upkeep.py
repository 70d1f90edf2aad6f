"""Work in the background of a worker that a bug in it does not end."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import NoReturn

import structlog

log = structlog.get_logger("milepost.worker")

FIRST_PAUSE_SECONDS = 0.5
LONGEST_PAUSE_SECONDS = 15.0


async def kept_running(
    name: str,
    work: Callable[[], Awaitable[None]],
    *,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    clock: Callable[[], float] = time.monotonic,
) -> NoReturn:
    """Run `work` for ever: a worker that is deaf or unseen for a bug's sake is of little use.

    What ends it is logged, and it begins again after a pause that grows, until it has held out for longer than that.
    """
    pause = FIRST_PAUSE_SECONDS
    while True:
        began = clock()
        try:
            await work()
            log.error("worker.background_ended", work=name)
        except Exception:
            log.exception("worker.bug", work=name, again_in_seconds=pause)
        if (task := asyncio.current_task()) and task.cancelling():
            raise asyncio.CancelledError  # what failed was the work's goodbye; it must not outlive the cancel
        if clock() - began > LONGEST_PAUSE_SECONDS:
            pause = FIRST_PAUSE_SECONDS
        await sleep(pause)
        pause = min(pause * 2, LONGEST_PAUSE_SECONDS)
