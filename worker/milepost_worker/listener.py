"""What others tell this worker: that work is due, that a job is to stop. One subscription."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

import structlog
from redis.asyncio import Redis
from redis.exceptions import RedisError

from milepost.log.keys import control_channel, wake_channel
from milepost.redis import UNREACHABLE

log = structlog.get_logger("milepost.listener")

LOOK_AROUND_SECONDS = 20.0
"""A subscription that was cut without a word is noticed after so long; polling and heartbeats cover for it."""


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
        wake: Callable[[], None],
        cancel: Callable[[str], None],
    ) -> None:
        self._redis, self._wake, self._cancel = redis, wake, cancel
        self._channels = (control_channel(worker), *(wake_channel(queue) for queue in queues))
        self._control = self._channels[0].encode()

    async def run(self) -> None:
        """Listen for ever."""
        failures = 0
        while True:
            try:
                await self._listen()
            except (RedisError, *UNREACHABLE) as error:
                failures += 1
                if failures == 1 or failures % 100 == 0:
                    log.warning("listener.redis_trouble", error=str(error), failures=failures)
                await asyncio.sleep(min(1.0, 0.05 * failures))
            else:
                failures = 0

    async def _listen(self) -> None:
        pubsub = self._redis.pubsub()
        try:
            await pubsub.subscribe(*self._channels)
            self._wake()  # whatever was announced before the subscription
            while True:
                message = await pubsub.get_message(
                    ignore_subscribe_messages=True, timeout=LOOK_AROUND_SECONDS
                )
                if message is None:
                    await asyncio.wait_for(pubsub.ping(), LOOK_AROUND_SECONDS)
                elif message["type"] == "message":
                    self._hear(message["channel"], message["data"].decode())
        finally:
            await pubsub.aclose()  # type: ignore[no-untyped-call]

    def _hear(self, channel: bytes, text: str) -> None:
        if channel == self._control:
            verb, _, job_id = text.partition(" ")
            if verb == "cancel":
                self._cancel(job_id)
            return
        delay_seconds = int(text) / 1000
        if delay_seconds <= 0:
            self._wake()
        elif delay_seconds < 3600:  # later ones are found by polling soon enough
            asyncio.get_running_loop().call_later(delay_seconds, self._wake)
