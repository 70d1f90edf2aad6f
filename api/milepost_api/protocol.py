"""uvicorn's HTTP protocol, and what long streams need besides: their connection, and news of its end."""

from __future__ import annotations

import asyncio
from typing import Any

from starlette.types import Message, Scope
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

_EXTENSION = "milepost.connection"


class StreamingProtocol(HttpToolsProtocol):
    """Serves like its parent, and

    - leaves the transport in the scope (`transport_of`);
    - tells every unfinished request that the connection is lost, not only the latest of several;
    - sends a body of unknown length to an HTTP/1.0 client as that client can read it.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._earlier: list[RequestResponseCycle] = []

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self.scope["extensions"] = {_EXTENSION: {"transport": self.transport}}

    def on_headers_complete(self) -> None:
        earlier: RequestResponseCycle | None = self.cycle  # None before the first request
        super().on_headers_complete()
        if self.cycle is earlier:
            return  # answered without a request of its own
        if earlier is not None and not earlier.response_complete:  # pipelined behind a stream, say
            self._earlier = [cycle for cycle in self._earlier if not cycle.response_complete] + [earlier]
        if self.scope["http_version"] == "1.0":
            _until_close(self.cycle)

    def connection_lost(self, exc: Exception | None) -> None:
        for cycle in self._earlier:
            cycle.disconnected = cycle.disconnected or not cycle.response_complete
            cycle.message_event.set()
        super().connection_lost(exc)


def _until_close(cycle: RequestResponseCycle) -> None:
    """Let the end of the connection be the end of a body of unknown length: HTTP/1.0 knows no chunks.

    RFC 9112 §6.1: "A server MUST NOT send a response containing Transfer-Encoding unless the corresponding
    request indicates HTTP/1.1"; §6.3 (8) says how it ends instead.
    """
    plain, scope, unknown = cycle.send, cycle.scope, False

    async def send(message: Any) -> None:
        nonlocal unknown
        if message["type"] == "http.response.start" and not _has_length(message):
            unknown = True
            cycle.scope = {**scope, "method": "HEAD"}  # for which uvicorn announces no chunks
            await plain(message)
            cycle.scope, cycle.chunked_encoding = scope, False
            return
        if unknown:
            cycle.expected_content_length = len(message.get("body", b""))  # of the whole: what is sent now
        await plain(message)

    cycle.send = send  # type: ignore[method-assign]


def _has_length(message: Message) -> bool:
    return any(name.lower() == b"content-length" for name, _ in message.get("headers", ()))


def transport_of(scope: Scope) -> asyncio.Transport | None:
    """Return the connection of a request; None where another server or a test client serves it."""
    found: dict[str, asyncio.Transport] = scope.get("extensions", {}).get(_EXTENSION, {})
    return found.get("transport")
