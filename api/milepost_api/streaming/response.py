"""Answering with a stream: on a borrowed connection, or through ASGI by `sse-starlette`; SSE or NDJSON."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import nullcontext

import anyio
import structlog
from sse_starlette.sse import EventSourceResponse, SendTimeoutError
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from milepost import times
from milepost.codec import encode_retry
from milepost_api.hub import Frame, ping, reconnect
from milepost_api.protocol import BEGINS, borrow, is_clogged, is_lendable, transport_of
from milepost_api.streaming.lanes import Lanes, encoded
from milepost_api.streaming.lent import LentStream, Source

log = structlog.get_logger("milepost.stream")

SSE = "text/event-stream"
NDJSON = "application/x-ndjson"

RETRY_MS = (2000, 4000)
"""How long browsers wait before they reconnect: spread, so that a restart is not followed by a stampede."""

HEADERS = {"Cache-Control": "no-store, no-transform"}

logging.getLogger("sse_starlette.sse").setLevel(logging.INFO)  # at DEBUG it logs every chunk whole


def _raw(media_type: str) -> list[tuple[bytes, bytes]]:
    # No `Connection`: that is the server's business. HTTP/1.0 closes, HTTP/2 forbids it.
    told = {"Content-Type": media_type, "X-Accel-Buffering": "no", **HEADERS}
    if media_type == SSE:
        told["Content-Type"] += "; charset=utf-8"
        # Caddy 2.6 (Debian 12 and 13) does not know no-transform: its `encode` would compress text/* and keep the first
        # events back until it has more. RFC 9110 §8.4 would rather not see it named; readers ignore it.
        told["Content-Encoding"] = "identity"
    return _raw_of(told)


def _raw_of(headers: Mapping[str, str]) -> list[tuple[bytes, bytes]]:
    return [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()]


_HEAD = {SSE: _raw(SSE), NDJSON: _raw(NDJSON)}


def head_of(kind: str) -> list[tuple[bytes, bytes]]:
    """Return the headers of every stream of that kind, SSE or NDJSON."""
    return _HEAD[kind]


def opening_words(frames: Sequence[Frame], *, ndjson: bool) -> bytes:
    """Return how the body of a stream begins that has these to say first."""
    retry = b"" if ndjson else encode_retry(random.randint(*RETRY_MS))
    return retry + encoded(frames, ndjson=ndjson)


class StreamResponse(Response):
    """A response whose body is what a source says. The source is closed however the response ends.

    With `lanes` the connection is borrowed once the answer has begun, and this call returns (DESIGN §4); without, or
    where it cannot be had, `sse-starlette` sends the body through ASGI, by a few tasks. A client cannot tell which.
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
        headers: Mapping[str, str] | None = None,
    ) -> None:
        self.status_code, self.background = 200, None
        self.raw_headers = [*head_of(NDJSON if ndjson else SSE), *_raw_of(headers or {})]
        self._source, self._ndjson, self._lanes = source, ndjson, lanes
        self._ping_seconds, self._stalled_seconds, self._grace_seconds = (
            ping_seconds,
            stalled_seconds,
            grace_seconds,
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        transport = transport_of(scope)
        lent = False
        try:
            if transport is not None and not transport.is_closing():
                # Whatever the kernel does not take at once is waited for: what we hold cannot be conflated any more.
                transport.set_write_buffer_limits(high=0)
            if self._lanes is not None and is_lendable(scope):
                lent = await self._lend(self._lanes, scope, send)
            else:
                await self._plain()(scope, receive, send)
        except SendTimeoutError:
            log.info("stream.cut", reason=f"nothing was read for {self._stalled_seconds:g} s")
            if transport is not None:
                await _cut(transport, receive)
        finally:
            if not lent:
                self._source.close()

    async def _lend(self, lanes: Lanes, scope: Scope, send: Send) -> bool:
        """Begin the answer, and hand its connection to a stream that outlives this call. False: the client has gone.

        Raises `SendTimeoutError`.
        """
        first = opening_words(await self._source.next(0), ndjson=self._ndjson)
        stalled = self._stalled_seconds
        head = {"status": self.status_code, "headers": self.raw_headers, BEGINS: True}
        # What this connection was sent before may lie unread. Else nothing is waited for, and needs no timer.
        patience = asyncio.timeout(stalled) if is_clogged(scope) else nullcontext()
        try:
            async with patience:
                await send({"type": "http.response.start", **head})
                await send({"type": "http.response.body", "body": first, "more_body": True})
        except TimeoutError:
            raise SendTimeoutError from None
        loan = borrow(scope)
        if loan is None:
            return False
        LentStream(lanes, loan, self._source, ndjson=self._ndjson, stalled_seconds=stalled).begin()
        return True

    def _plain(self) -> EventSourceResponse:
        response = EventSourceResponse(
            self._chunks(),
            ping=0,  # ours are events that a client can see, and only after silence
            send_timeout=self._stalled_seconds,
            # The hub tells the streams to end; sse-starlette only has to let them.
            shutdown_event=anyio.Event(),
            shutdown_grace_period=self._grace_seconds,
        )
        response.raw_headers = self.raw_headers
        return response

    async def _chunks(self) -> AsyncIterator[bytes]:
        if opening := opening_words((), ndjson=self._ndjson):
            yield opening
        while not self._source.finished:
            frames = await self._source.next(self._ping_seconds)
            if not frames and not self._source.finished:
                frames = [ping(times.now())]
            if chunk := encoded(frames, ndjson=self._ndjson):
                yield chunk


def come_back_later() -> Response:
    """Answer while Redis is away: EventSource gives up for good on a 503, and comes back after this."""
    wait = random.randint(*RETRY_MS)
    return Response(reconnect("unavailable", wait).sse, media_type=SSE, headers=HEADERS)


async def _cut(transport: asyncio.Transport, receive: Receive) -> None:
    """Drop what was written: a connection that is only closed waits for ever for its reader to take it."""
    transport.abort()
    while (await receive())["type"] != "http.disconnect":
        pass
