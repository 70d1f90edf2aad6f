"""Work in the background of a process that neither a bug in it nor an outage ends."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable
from typing import NoReturn

import structlog

from milepost.errors import StoreUnavailable
from milepost.redis import UNREACHABLE

FIRST_PAUSE_SECONDS = 0.5
LONGEST_PAUSE_SECONDS = 15.0
log = structlog.get_logger("milepost.background")


async def kept_running(
    name: str,
    work: Callable[[], Awaitable[None]],
    *,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    clock: Callable[[], float] = time.monotonic,
) -> NoReturn:
    """Run `work` for ever: whatever ends it is logged, and it begins again after a pause that grows.

    The pause is short again once the work has held out for longer than the longest pause.
    """
    pause = FIRST_PAUSE_SECONDS
    while True:
        began = clock()
        try:
            await work()
            log.error("background.ended", work=name)
        except (StoreUnavailable, *UNREACHABLE) as error:
            log.warning("background.waits", work=name, reason=str(error))  # for Redis or the database
        except Exception:
            log.exception("background.bug", work=name, again_in_seconds=pause)
        if (task := asyncio.current_task()) and task.cancelling():
            raise asyncio.CancelledError  # what failed was the work's goodbye; it must not outlive the cancel
        if clock() - began > LONGEST_PAUSE_SECONDS:
            pause = FIRST_PAUSE_SECONDS
        await sleep(pause)
        pause = min(pause * 2, LONGEST_PAUSE_SECONDS)


async def ended(*threads: threading.Thread, within_seconds: float) -> None:
    """Wait so long for threads to end. Not by a thread of the loop's pool: tasks may have used that up."""
    until = time.monotonic() + within_seconds
    while any(thread.is_alive() for thread in threads) and time.monotonic() < until:  # noqa: ASYNC110 - nothing to await
        await asyncio.sleep(0.005)
