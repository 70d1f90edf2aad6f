"""The one subscription of this process: told which jobs are watched, it hands on what Redis publishes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import structlog
from redis.asyncio import Redis
from redis.asyncio.client import PubSub
from redis.exceptions import RedisError

from milepost.errors import StoreUnavailable
from milepost.redis import UNREACHABLE

log = structlog.get_logger("milepost.hub.reader")

LOOK_AROUND_SECONDS = 5.0
"""After so much silence the connection is asked whether it lives; a half-open one never says that it died."""

OWN_CHANNEL = b"mp:hub"


class Reader:
    """Keeps one pub/sub connection up. Whatever was published while it was down is lost to it, so after

    every (re)connection, once all channels are acknowledged, `resynced` is called: the hub then compares
    what it knows with the history.
    """

    def __init__(
        self, redis: Redis, heard: Callable[[bytes, bytes], None], resynced: Callable[[], None]
    ) -> None:
        self._redis, self._heard, self._resynced = redis, heard, resynced
        self._channels: dict[bytes, asyncio.Future[None]] = {}
        self._asked: dict[bytes, int] = {}
        """How many SUBSCRIBEs of a channel are sent and not answered: only the answer to the last one counts."""
        self._pubsub: PubSub | None = None
        self.connected = self._was_connected = False

    async def subscribe(self, channel: str, timeout_seconds: float) -> None:
        """Return when Redis has acknowledged: nothing published from then on is missed.

        Raises `StoreUnavailable` when that takes too long; the channel stays wanted.
        """
        name = channel.encode()
        acknowledged = self._channels.get(name)
        if acknowledged is None:
            acknowledged = self._channels[name] = asyncio.get_running_loop().create_future()
            await self._tell("subscribe", channel)
        try:
            async with asyncio.timeout(timeout_seconds):
                await asyncio.shield(acknowledged)
        except TimeoutError:
            raise StoreUnavailable(
                "Redis does not answer at the moment; try again in a few seconds."
            ) from None

    async def unsubscribe(self, channel: str) -> None:
        if self._channels.pop(channel.encode(), None) is not None:
            await self._tell("unsubscribe", channel)

    async def run(self) -> None:
        """Listen for ever."""
        failures = 0
        while True:
            try:
                await self._listen()
                failures = 0
            except (RedisError, *UNREACHABLE) as error:
                failures = 1 if self._was_connected else failures + 1
                if failures == 1 or failures % 60 == 0:
                    log.warning("reader.redis_trouble", error=str(error), failures=failures)
                await asyncio.sleep(min(2.0, 0.05 * 2 ** min(failures - 1, 6)))

    async def _listen(self) -> None:
        pubsub = self._redis.pubsub()
        try:
            # One channel of our own, last: its acknowledgement says that all the others have theirs.
            wanted = set(self._channels)
            self._asked = dict.fromkeys(wanted, 1)
            await pubsub.subscribe(*(name.decode() for name in wanted), OWN_CHANNEL.decode())
            self._pubsub = pubsub
            # What was asked for and given up while the connection was being made was told to nobody.
            for name in self._channels.keys() ^ wanted:
                if name in self._channels and name not in self._asked:
                    await self._tell("subscribe", name.decode())
                elif name in wanted and name not in self._channels:
                    await self._tell("unsubscribe", name.decode())
            while True:
                message = await pubsub.get_message(timeout=LOOK_AROUND_SECONDS)
                if message is None:
                    await self._probe(pubsub)
                else:
                    self._take(message["type"], message["channel"], message["data"])
        finally:
            self._disconnected()
            await pubsub.aclose()  # type: ignore[no-untyped-call]

    async def _probe(self, pubsub: PubSub) -> None:
        await pubsub.ping()
        message = await pubsub.get_message(timeout=LOOK_AROUND_SECONDS)
        if message is None:
            raise ConnectionError(f"no answer to a ping within {LOOK_AROUND_SECONDS:g} s")
        self._take(message["type"], message["channel"], message["data"])

    def _take(self, kind: str, channel: bytes, data: bytes) -> None:
        if kind == "message":
            self._heard(channel, data)
        elif kind == "subscribe" and channel == OWN_CHANNEL:
            # Also when redis-py (6 and later) has reconnected by itself: something may have been missed.
            self.connected = True
            self._resynced()
        elif kind == "subscribe":
            self._asked[channel] = self._asked.get(channel, 1) - 1
            if self._asked[channel] > 0:
                return  # given up and asked for again: this is the answer to the first time
            del self._asked[channel]
            acknowledged = self._channels.get(channel)
            if acknowledged is not None and not acknowledged.done():
                acknowledged.set_result(None)

    async def _tell(self, verb: str, channel: str) -> None:
        pubsub = self._pubsub
        if pubsub is None:
            return  # said when the connection is up again
        if verb == "subscribe":
            self._asked[channel.encode()] = self._asked.get(channel.encode(), 0) + 1
        try:
            await getattr(pubsub, verb)(channel)
        except (RedisError, *UNREACHABLE) as error:
            log.debug(
                "reader.connection_lost", error=str(error)
            )  # the loop that reads sees it too, and reconnects

    def _disconnected(self) -> None:
        self._pubsub, self._was_connected, self.connected = None, self.connected, False
        loop = asyncio.get_running_loop()
        for name, acknowledged in self._channels.items():
            if acknowledged.done():
                self._channels[name] = loop.create_future()
