"""Sending a subscription over HTTP: SSE by `sse-starlette`, or NDJSON by the same loop."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import socket
from collections.abc import AsyncIterator, Sequence

import anyio
import structlog
from sse_starlette.sse import EventSourceResponse, SendTimeoutError
from starlette.types import Receive, Scope, Send

from milepost import times
from milepost.codec import encode_line, encode_retry
from milepost_api.hub import Frame, Subscription, ping
from milepost_api.protocol import transport_of

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
    """A response whose body is a subscription. The subscription is closed however the response ends."""

    def __init__(
        self,
        subscription: Subscription,
        *,
        ndjson: bool,
        ping_seconds: float,
        stalled_seconds: float,
        grace_seconds: float,
    ) -> None:
        self._subscription = subscription
        body = _ndjson(subscription, ping_seconds) if ndjson else _sse(subscription, ping_seconds)
        super().__init__(
            body,
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
        try:
            if transport is not None:
                _tune(transport)
            await super().__call__(scope, receive, send)
        except SendTimeoutError:
            log.info("stream.cut", reason=f"nothing was read for {self.send_timeout:g} s")
            if transport is not None:
                await _cut(transport, receive)
        finally:
            self._subscription.close()


def _tune(transport: asyncio.Transport) -> None:
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


async def _sse(subscription: Subscription, ping_seconds: float) -> AsyncIterator[bytes]:
    yield encode_retry(random.randint(*RETRY_MS))
    async for frames in _batches(subscription, ping_seconds):
        yield b"".join(frame.sse for frame in frames)


async def _ndjson(subscription: Subscription, ping_seconds: float) -> AsyncIterator[bytes]:
    async for frames in _batches(subscription, ping_seconds):
        yield b"".join(encode_line(frame.data) for frame in frames)


async def _batches(subscription: Subscription, ping_seconds: float) -> AsyncIterator[Sequence[Frame]]:
    while not subscription.finished:
        frames = await subscription.next(ping_seconds)
        if frames:
            yield frames
        elif not subscription.finished:
            yield (ping(times.now()),)


def accepts(accept: str, offered: Sequence[str], default: str) -> str | None:
    """Return which of the `offered` media types an Accept header asks for; None when it excludes them all."""
    if not accept.strip():
        return default
    best: tuple[float, int, str] | None = None
    for media_type in offered:
        quality = _quality(accept, media_type)
        rank = (quality, media_type == default, media_type)
        if quality > 0 and (best is None or rank > best):
            best = rank
    return best[2] if best else None


def _quality(accept: str, media_type: str) -> float:
    """The weight that an Accept header gives a type: the most specific range decides (RFC 9110 §12.5.1)."""
    main = media_type.partition("/")[0]
    found: dict[int, float] = {}
    for part in accept.lower().split(","):
        name, *parameters = (piece.strip() for piece in part.split(";"))
        weight = next((p[2:] for p in parameters if p.startswith("q=")), "1")
        specificity = {media_type: 3, f"{main}/*": 2, "*/*": 1}.get(name)
        if specificity:
            try:
                found[specificity] = float(weight)
            except ValueError:
                found[specificity] = 0.0
    return found[max(found)] if found else 0.0
