"""A raw HTTP reader for streams: it sees the exact bytes of the body and how the body ended."""

from __future__ import annotations

import asyncio
import json
import ssl
import zlib
from collections import deque
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlsplit

from milepost.codec import Frame, SseDecoder
from tests.support.wait import DEADLINE_SECONDS

_NOT_YET = -1


class RawStream:
    """One response. `status` and `headers` (names in lower case) are there at once, the body as it is read.

    `body` holds every byte read so far. `ended_clean` is None while it goes on, then True if the body ended
    the way HTTP says (the last chunk, the announced length) and False if the connection was cut. A body that
    came in gzip is unpacked as it arrives.
    """

    def __init__(self, reader: asyncio.StreamReader, deadline: float) -> None:
        self._reader, self._deadline = reader, deadline
        self.status = 0
        self.headers: dict[str, str] = {}
        self.body = bytearray()
        self.ended_clean: bool | None = None
        self.decoder = SseDecoder()
        self._ready: deque[Frame] = deque()
        self._left = _NOT_YET
        self._unzip = zlib.decompressobj(wbits=31)

    async def read_head(self) -> None:
        async with asyncio.timeout(self._deadline):
            status, *lines = (await self._reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        self.status = int(status.split(" ")[1])
        self.headers = {k.lower(): v.strip() for k, _, v in (line.partition(":") for line in lines if line)}

    async def chunks(self) -> AsyncIterator[bytes]:
        """Yield pieces of the body as they arrive; fails when nothing comes for the deadline."""
        while self.ended_clean is None:
            async with asyncio.timeout(self._deadline):
                piece = await self._next_piece()
            if self.headers.get("content-encoding") == "gzip":
                piece = self._unzip.decompress(piece)
            self.body += piece
            if piece:
                yield piece

    async def frames(self) -> AsyncIterator[Frame]:
        """Yield the SSE frames of the body."""
        while self._ready:  # what came in one piece with the frame at which an earlier reader stopped
            yield self._ready.popleft()
        async for piece in self.chunks():
            self._ready.extend(self.decoder.feed(piece))
            while self._ready:
                yield self._ready.popleft()

    async def events(self) -> AsyncIterator[dict[str, Any]]:
        """Yield the JSON object of every frame."""
        async for frame in self.frames():
            yield json.loads(frame.data)

    async def until(self, kind: str) -> list[dict[str, Any]]:
        """Read up to and with the first event of that type; fails if the body ends before."""
        seen = []
        async for event in self.events():
            seen.append(event)
            if event["type"] == kind:
                return seen
        types = [event["type"] for event in seen]
        raise AssertionError(
            f"the stream ended (cleanly: {self.ended_clean}) without {kind!r}; it held {types}"
        )

    async def rest(self) -> list[dict[str, Any]]:
        """Read the body to its end."""
        return [event async for event in self.events()]

    async def lines(self) -> AsyncIterator[bytes]:
        """Yield the whole lines of the body, for NDJSON."""
        partial = b""
        async for piece in self.chunks():
            *lines, partial = (partial + piece).split(b"\n")
            for line in lines:
                yield line

    async def rest_of_lines(self) -> list[bytes]:
        """Read the lines of the body to its end."""
        return [line async for line in self.lines()]

    async def _next_piece(self) -> bytes:
        if self.status in {204, 304} or self.headers.get("content-length") == "0":
            self.ended_clean = True
            return b""
        try:
            if self.headers.get("transfer-encoding") == "chunked":
                return await self._chunk()
            return await self._plain()
        except (ConnectionError, asyncio.IncompleteReadError):
            self.ended_clean = False
            return b""

    async def _chunk(self) -> bytes:
        if self._left in {_NOT_YET, 0}:
            if self._left == 0:
                await self._reader.readexactly(2)
            self._left = int((await self._reader.readuntil(b"\r\n")).split(b";")[0], 16)
            if self._left == 0:
                await self._reader.readuntil(b"\r\n")
                self.ended_clean = True
                return b""
        return await self._some()

    async def _plain(self) -> bytes:
        length = self.headers.get("content-length")
        if length is None:
            piece = await self._reader.read(65536)
            self.ended_clean = None if piece else True  # HTTP/1.0: the end of the connection is the end
            return piece
        if self._left == _NOT_YET:
            self._left = int(length)
        piece = await self._some()
        self.ended_clean = True if self._left == 0 else None
        return piece

    async def _some(self) -> bytes:
        piece = await self._reader.read(self._left)
        if not piece:
            raise asyncio.IncompleteReadError(b"", self._left)
        self._left -= len(piece)
        return piece


@asynccontextmanager
async def open_stream(
    url: str,
    *,
    last_event_id: str | None = None,
    headers: Mapping[str, str] | None = None,
    method: str = "GET",
    body: bytes = b"",
    http: str = "1.1",
    deadline: float = DEADLINE_SECONDS,
) -> AsyncIterator[RawStream]:
    """Send one request over a socket of its own and yield the response, its head read.

    No piece of the body may take longer than `deadline` seconds. Over https anybody's certificate will do.
    """
    parts = urlsplit(url)
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    sent = {"Host": parts.netloc, "Accept": "text/event-stream"}
    if body:
        sent |= {"Content-Length": str(len(body)), "Content-Type": "application/json"}
    if last_event_id is not None:
        sent["Last-Event-ID"] = last_event_id
    sent |= headers or {}
    lines = [f"{method} {target} HTTP/{http}", *(f"{name}: {value}" for name, value in sent.items()), "", ""]
    tls = _anybody() if parts.scheme == "https" else None
    reader, writer = await asyncio.open_connection(
        parts.hostname, parts.port or (443 if tls else 80), ssl=tls
    )
    try:
        writer.write("\r\n".join(lines).encode("utf-8") + body)
        await writer.drain()
        stream = RawStream(reader, deadline)
        await stream.read_head()
        yield stream
    finally:
        writer.transport.abort()


def _anybody() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context
