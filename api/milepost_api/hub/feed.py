"""One connection that listens to Redis: what it says is handed on in batches, without a task between."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from redis.asyncio import Redis
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError

from milepost.background import end

try:
    from hiredis import ProtocolError
    from hiredis import Reader as Parser
except ImportError:  # redis-py parses in Python then
    Parser = None  # type: ignore[assignment,misc]

GATHER_SECONDS = 0.002
"""While messages come faster than this, the connection is read only so often.

Waking up for one message costs more than everything that is done with it: at 10,000 messages a second, one by one,
15 to 20 us of CPU each, and 7 when they are taken 20 at a time. What comes after quiet is taken at once.
"""
AT_ONCE = 4
"""So are that many in a row: a subscription is acknowledged, a job is created and begun, and somebody waits for it."""

_NOTHING = object()

Take = Callable[[list[Any]], None]
"""Gets what Redis said, in order: `[b"message", channel, data]`, `[b"subscribe", channel, count]`, ..."""


class Feed:
    """Opened by `open_feed`. `received` grows with everything that arrives."""

    def __init__(self, connection: Any, take: Take) -> None:
        self._connection, self._take = connection, take
        self.lost: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        """Raises when the connection is no more; never returns."""
        self.received = 0

    async def say(self, *words: str) -> None:
        """Send a command. Its answer comes like everything else; that it cannot be sent is the end of the feed."""
        if self.lost.done():
            return  # redis-py would connect anew, and nobody would listen
        try:
            await self._connection.send_command(*words)
        except (RedisError, OSError) as error:
            self.fail(error)

    def fail(self, error: BaseException) -> None:
        """Give the connection up, and whatever waits for it."""
        if not self.lost.done():
            self.lost.set_exception(error)
            self.lost.exception()  # looked at: whoever waits for it may have gone
            _abort(self._connection)

    def heard(self, replies: list[Any]) -> None:
        """Hand on. An error among the replies is about a command of ours: what was asked for is not listened to."""
        self.received += 1
        for reply in replies:
            if isinstance(reply, Exception):
                self.fail(reply)
                return
        try:
            self._take(replies)
        except Exception as error:  # noqa: BLE001 - a bug of the taker's: it is told to whoever waits for `lost`
            self.fail(error)


class Tap(asyncio.Protocol):
    """Takes the place of redis-py's stream reader on a connection that only listens from now on.

    A stream reader wakes a task for every packet. What redis-py's own protocol is still needed for - waiting until
    something is written or closed - it gets to know.
    """

    def __init__(self, feed: Feed, transport: asyncio.Transport) -> None:
        self._feed, self._transport, self._parser = feed, transport, Parser(notEnoughData=_NOTHING)
        self._former: Any = transport.get_protocol()
        self._loop = asyncio.get_running_loop()
        self._rested, self._in_a_row = 0.0, 0
        self._resting: asyncio.TimerHandle | None = None
        transport.set_protocol(self)

    def data_received(self, data: bytes) -> None:
        replies = []
        try:
            self._parser.feed(data)
            while (reply := self._parser.gets()) is not _NOTHING:
                replies.append(reply)
        except ProtocolError as error:
            self._feed.fail(RedisConnectionError(f"Redis said what is no RESP: {error}"))
            return
        self._feed.heard(replies)
        now = self._loop.time()
        self._in_a_row = self._in_a_row + 1 if now - self._rested < 2 * GATHER_SECONDS else 0
        if self._in_a_row >= AT_ONCE and not self._transport.is_closing():
            self._transport.pause_reading()
            self._resting = self._loop.call_later(GATHER_SECONDS, self._go_on)
        self._rested = now

    def _go_on(self) -> None:
        self._resting, self._rested = None, self._loop.time()
        if not self._transport.is_closing():
            self._transport.resume_reading()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._resting:
            self._resting.cancel()
        self._feed.fail(RedisConnectionError(f"The connection was closed ({exc or 'by the server'})"))
        self._former.connection_lost(exc)

    def eof_received(self) -> bool:
        return False  # the transport closes itself

    def pause_writing(self) -> None:
        self._former.pause_writing()

    def resume_writing(self) -> None:
        self._former.resume_writing()


@asynccontextmanager
async def open_feed(redis: Redis, take: Take, within_seconds: float) -> AsyncIterator[Feed]:
    """Connect as the pool of `redis` does - it logs in and finds the master - and listen; closed with the block.

    Raises what connecting raises, and `TimeoutError`.
    """
    connection: Any = redis.connection_pool.make_connection()  # type: ignore[no-untyped-call]
    reading: list[asyncio.Task[None]] = []
    try:
        async with asyncio.timeout(within_seconds):  # a frozen server accepts, and answers no greeting
            await connection.connect()
        feed = Feed(connection, take)
        # It is redis-py's own, and may not be there in another version of it: then its way is taken, which is slower.
        transport: Any = getattr(getattr(connection, "_writer", None), "transport", None)
        if Parser is not None and hasattr(transport, "set_protocol"):
            Tap(feed, transport)
        else:
            reading.append(asyncio.create_task(_read(connection, feed)))
        yield feed
    finally:
        await end(*reading)
        _abort(connection)
        await connection.disconnect(nowait=True)


async def _read(connection: Any, feed: Feed) -> None:
    """Listen as redis-py does."""
    try:
        while not feed.lost.done():
            feed.heard([await connection.read_response(disconnect_on_error=False, push_request=True)])
    except (RedisError, OSError) as error:
        feed.fail(error)


def _abort(connection: Any) -> None:
    """Close without a goodbye, for which a half-open connection would wait."""
    if writer := getattr(connection, "_writer", None):
        writer.transport.abort()
