"""Tasks that run beside the main one, and how to end them for certain."""

from __future__ import annotations

import asyncio
from typing import Any

_AGAIN_SECONDS = 0.5


async def end(*tasks: asyncio.Task[Any]) -> None:
    """Cancel the tasks and wait until they have ended, whatever they return or raise.

    One cancel is not enough before Python 3.12: `asyncio.wait_for` swallows it when what it waits for is done at the
    same moment (bpo-37658), and redis-py sends every command through it. A loop would then go on for ever.
    """
    running = {task for task in tasks if not task.done()}
    while running:
        for task in running:
            task.cancel()
        _, running = await asyncio.wait(running, timeout=_AGAIN_SECONDS)
