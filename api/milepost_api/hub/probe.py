"""Hearing oneself: what this process publishes to itself must come back on its subscription."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from redis.asyncio import Redis

SLICES = 4
"""Waiting is counted in slices: a loop that was held up must not take its own absence for that of Redis."""

BEHIND = 5
"""A subscription on which other things arrive is alive, and its probe is queued: it may take so many times as long."""


class Probe:
    """Finds half-open connections, which never say that they died, and subscriptions that lost their channels.

    `lag_seconds` is how long the last message was under way, or has been so far.
    """

    def __init__(self, redis: Redis, channel: str, deadline_seconds: float) -> None:
        self._redis, self._channel, self._deadline = redis, channel, deadline_seconds
        self._clock = asyncio.get_running_loop().time
        self._number = 0
        self._sent_at: float | None = None
        self._back = asyncio.Event()
        self._lag = 0.0

    @property
    def lag_seconds(self) -> float:
        """How long a message takes from its publication to here."""
        return self._lag if self._sent_at is None else max(self._lag, self._clock() - self._sent_at)

    def heard(self, message: bytes) -> None:
        """Take what has come in on the channel."""
        if self._sent_at is not None and message == str(self._number).encode():
            self._lag, self._sent_at = self._clock() - self._sent_at, None
            self._back.set()

    async def publish(self) -> None:
        """Say something on the channel. Raises `RedisError`, `OSError` or `TimeoutError` if that cannot be done."""
        self._number += 1
        self._back.clear()
        self._sent_at = self._clock()
        async with asyncio.timeout(self._deadline):
            await self._redis.publish(self._channel, str(self._number))

    async def back(self, received: Callable[[], int]) -> None:
        """Return when it has come back. `received` grows with all that arrives on the subscription.

        Raises `ConnectionError` when that takes too long.
        """
        silent = 0
        for _ in range(SLICES * BEHIND):
            before = received()
            try:
                async with asyncio.timeout(self._deadline / SLICES):
                    await self._back.wait()
                return
            except TimeoutError:
                silent = silent + 1 if received() == before else 0
            if silent == SLICES:
                break
        raise ConnectionError(f"what was published has not been heard for {self.lag_seconds:.1f} s")
