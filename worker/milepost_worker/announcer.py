"""A thread that announces this worker, on an event loop of its own.

A task may block the worker's loop for longer than an announcement holds. Such a worker keeps its leases (see
`courier`), and nobody shall be told that it is gone: not the page, not a health check.
"""

from __future__ import annotations

import asyncio
import threading

from redis.asyncio import Redis

from milepost.background import end
from milepost.upkeep import kept_running
from milepost_worker.presence import Presence


class Announcer(threading.Thread):
    """Runs `presence` until `stop`, then says goodbye. `redis` is the client it announces by, and is closed with it."""

    def __init__(self, presence: Presence, redis: Redis) -> None:
        super().__init__(name="milepost-announcer", daemon=True)
        self._presence, self._redis = presence, redis
        self._ready = threading.Event()
        self._loop: asyncio.AbstractEventLoop
        self._stopping: asyncio.Event

    def run(self) -> None:
        asyncio.run(self._announce())

    def stop(self) -> None:
        """From any other thread; returns at once."""
        self._ready.wait()
        self._loop.call_soon_threadsafe(self._stopping.set)

    async def _announce(self) -> None:
        self._loop, self._stopping = asyncio.get_running_loop(), asyncio.Event()
        self._ready.set()
        upkeep = asyncio.create_task(kept_running("presence", self._presence.run))
        await self._stopping.wait()
        await end(upkeep)
        await self._presence.leave()
        await self._redis.aclose()
