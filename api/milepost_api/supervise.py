"""Work in the background that a crash does not end."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

import structlog

from milepost.errors import StoreUnavailable
from milepost.redis import UNREACHABLE

FIRST_PAUSE_SECONDS = 0.5
LONGEST_PAUSE_SECONDS = 15.0
log = structlog.get_logger()


async def supervise(
    name: str,
    work: Callable[[], Awaitable[None]],
    *,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    clock: Callable[[], float] = time.monotonic,
) -> None:
    """Run `work` for ever: whatever ends it is logged, and it begins again after a pause that grows.

    The pause is short again once the work has held out for longer than the longest pause.
    """
    pause = FIRST_PAUSE_SECONDS
    while True:
        began = clock()
        try:
            await work()
            log.error("background work ended by itself", work=name)
        except (StoreUnavailable, *UNREACHABLE) as error:
            log.warning("background work waits for redis or the database", work=name, reason=str(error))
        except Exception:
            log.exception("background work crashed; it begins again", work=name, pause_seconds=pause)
        if (task := asyncio.current_task()) and task.cancelling():
            raise asyncio.CancelledError  # what failed was the work's goodbye; it must not outlive the cancel
        if clock() - began > LONGEST_PAUSE_SECONDS:
            pause = FIRST_PAUSE_SECONDS
        await sleep(pause)
        pause = min(pause * 2, LONGEST_PAUSE_SECONDS)
