"""Tasks that run beside the main one, and how to end them for certain."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

_AGAIN_SECONDS = 0.5


async def together(*work: Coroutine[Any, Any, None]) -> None:
    """Do all of it at once until one part fails, and raise what that one raised; or until all have ended.

    Not `asyncio.TaskGroup`: it passes a cancel on once, and would wait for ever for a part that lost it (see `end`).
    """
    tasks = [asyncio.create_task(one) for one in work]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
    finally:
        await end(*tasks)
    for task in done:
        task.result()


async def end(*tasks: asyncio.Task[Any]) -> None:
    """Cancel the tasks and wait until they have ended, whatever they return or raise.

    One cancel is not enough before Python 3.12: `asyncio.wait_for` swallows it when what it waits for is done at the
    same moment (bpo-37658), and redis-py sends every command through it. A loop would then go on for ever.

    Whoever is cancelled while it waits here waits all the same, and is cancelled then: what is still running uses what
    is closed next, and would open it again.
    """
    running = {task for task in tasks if not task.done()}
    cancelled: asyncio.CancelledError | None = None
    while running:
        for task in running:
            task.cancel()
        try:
            _, running = await asyncio.wait(running, timeout=_AGAIN_SECONDS)
        except asyncio.CancelledError as error:
            cancelled = error
            running = {task for task in running if not task.done()}
    if cancelled is not None:
        raise cancelled
