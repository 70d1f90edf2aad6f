"""What others tell this worker: that work is due, that a job is to stop. One subscription."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import structlog
from redis.asyncio import Redis
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError

from milepost.log.keys import control_channel, wake_channel
from milepost.redis import UNREACHABLE

log = structlog.get_logger("milepost.listener")

LOOK_AROUND_SECONDS = 20.0
"""After so long without a word the server is asked for one; a subscription that was cut is noticed after twice that.

Polling and heartbeats cover for it."""


class Listener:
    """Calls `wake` when a queue has something due and `cancel(job_id)` when a job of this worker shall stop.

    What it misses while Redis is away is made up for: the picker polls, heartbeats bring cancels.
    """

    def __init__(
        self,
        redis: Redis,
        worker: str,
        queues: Sequence[str],
        *,
        poll_seconds: float,
        wake: Callable[[], None],
        cancel: Callable[[str], None],
    ) -> None:
        self._redis, self._wake, self._cancel = redis, wake, cancel
        self._poll_seconds, self._failures = poll_seconds, 0
        self._channels = (control_channel(worker), *(wake_channel(queue) for queue in queues))
        self._control = self._channels[0].encode()

    async def run(self) -> None:
        """Listen for ever."""
        while True:
            try:
                await self._listen()
            except (RedisError, *UNREACHABLE) as error:
                if self._failures % 100 == 0:
                    log.warning("listener.redis_trouble", error=str(error), failures=self._failures + 1)
                self._failures += 1
                await asyncio.sleep(min(1.0, 0.05 * self._failures))

    async def _listen(self) -> None:
        pubsub = self._redis.pubsub()
        try:
            await pubsub.subscribe(*self._channels)
            silent = False
            while True:
                message = await pubsub.get_message(timeout=LOOK_AROUND_SECONDS)
                if message is not None:
                    silent = False
                    self._hear(message)
                elif silent:
                    raise RedisConnectionError(f"no answer to a ping for {LOOK_AROUND_SECONDS:.0f} s")
                else:
                    silent = True
                    async with asyncio.timeout(LOOK_AROUND_SECONDS):
                        await pubsub.ping()
        finally:
            await pubsub.aclose()  # type: ignore[no-untyped-call]

    def _hear(self, message: Mapping[str, Any]) -> None:
        if message["type"] == "subscribe":
            self._failures = 0
            self._wake()  # whatever was announced before the subscription
        elif message["type"] != "message":
            return  # the answer to a ping
        elif message["channel"] == self._control:
            verb, _, job_id = message["data"].decode().partition(" ")
            if verb == "cancel":
                self._cancel(job_id)
        elif int(message["data"]) <= self._poll_seconds * 1000:
            self._wake()  # what is due later than the next poll is found by it in time
