"""Sending a subscription over HTTP: SSE by `sse-starlette`, or NDJSON by the same loop."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import socket
from collections.abc import AsyncIterator

import anyio
import structlog
from sse_starlette.sse import EventSourceResponse, SendTimeoutError
from starlette.types import Receive, Scope, Send

from milepost import times
from milepost.codec import encode_retry
from milepost_api.hub import ping
from milepost_api.protocol import borrow, is_lendable, transport_of
from milepost_api.streaming.lanes import Lanes, encoded
from milepost_api.streaming.lent import LentStream, Source

log = structlog.get_logger("milepost.stream")

SSE = "text/event-stream"
NDJSON = "application/x-ndjson"

RETRY_MS = (2000, 4000)
"""How long browsers wait before they reconnect: spread, so that a restart is not followed by a stampede."""

HEADERS = {"Cache-Control": "no-store, no-transform"}

SEND_BUFFER_BYTES = 65_536
"""What the kernel holds for one reader (it doubles this). Left to itself it takes megabytes before anybody

notices that nothing is read.
"""

LOST_AFTER_MS = 30_000
"""A peer that acknowledges nothing for so long is gone: TCP itself would take a quarter of an hour to say so."""

logging.getLogger("sse_starlette.sse").setLevel(logging.INFO)  # at DEBUG it logs every chunk whole


class StreamResponse(EventSourceResponse):
    """A response whose body is what a source says. The source is closed however the response ends.

    With `lanes` the connection is borrowed once the answer has begun, and this call returns (DESIGN §4); without, or
    where it cannot be had, the body is sent through ASGI, by a few tasks. A client cannot tell which.
    """

    def __init__(
        self,
        source: Source,
        *,
        ndjson: bool,
        ping_seconds: float,
        stalled_seconds: float,
        grace_seconds: float,
        lanes: Lanes | None = None,
    ) -> None:
        self._source, self._ndjson, self._lanes = source, ndjson, lanes
        super().__init__(
            self._chunks(ping_seconds),
            headers=HEADERS,
            media_type=NDJSON if ndjson else SSE,
            ping=0,  # ours are events that a client can see, and only after silence
            send_timeout=stalled_seconds,
            # The hub tells the streams to end; sse-starlette only has to let them.
            shutdown_event=anyio.Event(),
            shutdown_grace_period=grace_seconds,
        )
        del self.headers["Connection"]  # the server's business: HTTP/1.0 closes, HTTP/2 forbids it

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        transport = transport_of(scope)
        lent = False
        try:
            if transport is not None:
                _tune(transport)
            if self._lanes is not None and is_lendable(scope):
                lent = await self._lend(self._lanes, scope, send)
            else:
                await super().__call__(scope, receive, send)
        except SendTimeoutError:
            log.info("stream.cut", reason=f"nothing was read for {self.send_timeout:g} s")
            if transport is not None:
                await _cut(transport, receive)
        finally:
            if not lent:
                self._source.close()

    async def _lend(self, lanes: Lanes, scope: Scope, send: Send) -> bool:
        """Begin the answer, and hand its connection to a stream that outlives this call. False: the client has gone."""
        first = self._opening() + encoded(await self._source.next(0), ndjson=self._ndjson)
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        await send({"type": "http.response.body", "body": first, "more_body": True})
        loan = borrow(scope)
        if loan is None:
            return False
        assert self.send_timeout is not None
        LentStream(lanes, loan, self._source, ndjson=self._ndjson, stalled_seconds=self.send_timeout).begin()
        return True

    def _opening(self) -> bytes:
        return b"" if self._ndjson else encode_retry(random.randint(*RETRY_MS))

    async def _chunks(self, ping_seconds: float) -> AsyncIterator[bytes]:
        if opening := self._opening():
            yield opening
        while not self._source.finished:
            frames = await self._source.next(ping_seconds)
            if frames:
                if chunk := encoded(frames, ndjson=self._ndjson):
                    yield chunk
            elif not self._source.finished:
                yield encoded((ping(times.now()),), ndjson=self._ndjson)


def _tune(transport: asyncio.Transport) -> None:
    if transport.is_closing():
        return  # the client has gone already
    # Whatever the kernel does not take at once is waited for: a chunk that we hold cannot be conflated any more.
    transport.set_write_buffer_limits(high=0)
    connection = transport.get_extra_info("socket")
    with contextlib.suppress(OSError):  # the client has gone already: there is nothing to tune
        if connection.family in {socket.AF_INET, socket.AF_INET6}:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)
            if hasattr(socket, "TCP_USER_TIMEOUT"):
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, LOST_AFTER_MS)


async def _cut(transport: asyncio.Transport, receive: Receive) -> None:
    """Drop what was written: a connection that is only closed waits for ever for its reader to take it."""
    transport.abort()
    while (await receive())["type"] != "http.disconnect":
        pass
