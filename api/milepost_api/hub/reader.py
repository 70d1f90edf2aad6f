"""The one subscription of this process: told which jobs are watched, it hands on what Redis publishes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from itertools import groupby
from operator import itemgetter
from typing import Any

import structlog
from redis.asyncio import Redis
from redis.exceptions import RedisError

from milepost.background import end
from milepost.errors import StoreUnavailable
from milepost.ids import new_job_id
from milepost.redis import UNREACHABLE
from milepost_api.hub.feed import Feed, open_feed
from milepost_api.hub.probe import Probe

log = structlog.get_logger("milepost.hub.reader")

PROBE_SECONDS = 2.0
"""How often the process publishes something to itself."""

DEADLINE_SECONDS = 3.0
"""What Redis does not say for so long, though it is asked, it does not say on this connection any more."""


AGAIN_SECONDS = 0.2
"""After so long another message is sent when one could not be: the connection for it is a new one then."""


def nothing() -> None:
    """Do nothing."""


class Reader:
    """Keeps one pub/sub connection up. Whatever was published while it was down is lost to it, so after

    every (re)connection, once all channels are acknowledged, `resynced` is called: the hub then compares
    what it knows with the history. `well` is called whenever it is certain that the subscription works.
    """

    def __init__(
        self,
        redis: Redis,
        heard: Callable[[bytes, bytes], None],
        resynced: Callable[[], None],
        well: Callable[[], None] = nothing,
        *,
        probe_seconds: float = PROBE_SECONDS,
        deadline_seconds: float = DEADLINE_SECONDS,
    ) -> None:
        self._redis, self._heard, self._resynced, self._well = redis, heard, resynced, well
        self._probe_seconds, self._deadline = probe_seconds, deadline_seconds
        self._own = f"mp:hub:{new_job_id()}".encode()
        """A channel of this process alone."""
        self._probe = Probe(redis, self._own.decode(), deadline_seconds)
        self._channels: dict[bytes, asyncio.Future[None]] = {}
        self._asked: dict[bytes, int] = {}
        """How many SUBSCRIBEs of a channel are sent and not answered: only the answer to the last one counts."""
        self._feed: Feed | None = None
        self._to_say: list[tuple[str, str]] = []
        """Commands and their channels, in the order in which they were asked for."""
        self._saying: asyncio.Task[None] | None = None
        self._listening = asyncio.Event()
        self._was_connected = False

    @property
    def connected(self) -> bool:
        """Whether Redis has acknowledged all channels on a connection that has not been given up."""
        return self._listening.is_set()

    @property
    def lag_seconds(self) -> float:
        """How long a message took lately from its publication to this process."""
        return self._probe.lag_seconds

    async def subscribe(self, channel: str, timeout_seconds: float) -> None:
        """Return when Redis has acknowledged: nothing published from then on is missed.

        Raises `StoreUnavailable` when that takes too long; the channel stays wanted.
        """
        name = channel.encode()
        acknowledged = self._channels.get(name)
        if acknowledged is None:
            acknowledged = self._channels[name] = asyncio.get_running_loop().create_future()
            if self._feed:  # else it is said when the connection is up again
                self._asked[name] = self._asked.get(name, 0) + 1
                self._say(self._feed, "SUBSCRIBE", channel)
        try:
            async with asyncio.timeout(timeout_seconds):
                await asyncio.shield(acknowledged)
        except TimeoutError:
            raise StoreUnavailable(
                "Redis does not answer at the moment; try again in a few seconds."
            ) from None

    async def unsubscribe(self, channel: str) -> None:
        if self._channels.pop(channel.encode(), None) is not None and self._feed:
            self._say(self._feed, "UNSUBSCRIBE", channel)

    def _say(self, feed: Feed, command: str, channel: str) -> None:
        """Send soon. What is asked for in the same moment is one command: to send one costs more than to obey it."""
        self._to_say.append((command, channel))
        if self._saying is None:
            self._saying = asyncio.create_task(self._say_all(feed))

    async def _say_all(self, feed: Feed) -> None:
        try:
            while self._to_say:
                said, self._to_say = self._to_say, []
                for command, group in groupby(said, key=itemgetter(0)):
                    await feed.say(command, *(channel for _, channel in group))
        finally:
            self._saying = None

    async def run(self) -> None:
        """Listen for ever."""
        failures = 0
        while True:
            try:
                await self._listen()
            except (RedisError, *UNREACHABLE) as error:
                failures = 1 if self._was_connected else failures + 1
                if failures == 1 or failures % 60 == 0:
                    log.warning("reader.redis_trouble", error=str(error), failures=failures)
                await asyncio.sleep(min(2.0, 0.05 * 2 ** min(failures - 1, 6)))

    async def _listen(self) -> None:
        probing: asyncio.Task[None] | None = None
        self._was_connected = False
        try:
            async with open_feed(self._redis, self._take, self._deadline) as feed:
                self._feed = feed
                self._asked = dict.fromkeys(self._channels, 1)
                probing = asyncio.create_task(self._keep_probing(feed))
                # One channel of our own, last: its acknowledgement says that all the others have theirs.
                await feed.say("SUBSCRIBE", *(name.decode() for name in self._channels), self._own.decode())
                await feed.lost
        finally:
            self._disconnected()
            # What was still to be said is said with all the rest when the connection is up again.
            ending, self._saying = (probing, self._saying), None
            await end(*(task for task in ending if task is not None))

    async def _keep_probing(self, feed: Feed) -> None:
        try:
            async with asyncio.timeout(self._deadline):
                await self._listening.wait()
        except TimeoutError:
            feed.fail(ConnectionError(f"no answer to a subscription within {self._deadline:g} s"))
            return
        await asyncio.sleep(self._probe_seconds)
        while not feed.lost.done():
            try:
                await self._probe.publish()
            except (RedisError, *UNREACHABLE) as error:
                # It says nothing about the subscription, which may be all that is left: a full server takes no new one.
                log.debug("reader.probe_not_sent", error=str(error))
                await asyncio.sleep(AGAIN_SECONDS)
                continue
            try:
                await self._probe.back(lambda: feed.received)
            except ConnectionError as error:
                feed.fail(error)
                return
            self._well()
            await asyncio.sleep(self._probe_seconds)

    def _take(self, replies: list[Any]) -> None:
        for reply in replies:
            kind, channel, data = reply if len(reply) == 3 else (b"", b"", b"")
            if kind == b"message":
                if channel == self._own:
                    self._probe.heard(data)
                else:
                    self._heard(channel, data)
            elif kind == b"subscribe" and channel == self._own:
                self._was_connected = True
                self._listening.set()
                self._well()
                self._resynced()
            elif kind == b"subscribe":
                self._acknowledge(channel)

    def _acknowledge(self, channel: bytes) -> None:
        self._asked[channel] = self._asked.get(channel, 1) - 1
        if self._asked[channel] > 0:
            return  # given up and asked for again: this is the answer to the first time
        del self._asked[channel]
        acknowledged = self._channels.get(channel)
        if acknowledged is not None and not acknowledged.done():
            acknowledged.set_result(None)

    def _disconnected(self) -> None:
        self._feed = None
        self._to_say.clear()
        self._listening.clear()
        loop = asyncio.get_running_loop()
        for name, acknowledged in self._channels.items():
            if acknowledged.done():
                self._channels[name] = loop.create_future()
