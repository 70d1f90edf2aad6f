"""uvicorn's HTTP protocol, and what long streams need besides: their connection, and news of its end."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import structlog
from starlette.types import Message, Scope
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware
from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle
from uvicorn.protocols.utils import get_local_addr, get_remote_addr, is_ssl

log = structlog.get_logger("milepost.stream")

_EXTENSION = "milepost.connection"
BEGINS = "milepost.begins"
"""In an `http.response.start` of a stream: its first words follow at once, and want no system call of their own."""


class StreamingProtocol(HttpToolsProtocol):
    """Serves like its parent, and

    - lets an app that has a `prompt` (`Prompt`) begin its answer within the call that brings the request;
    - leaves itself in the scope, so that a stream finds its connection (`transport_of`) and may borrow it (`Loan`);
    - tells every unfinished request that the connection is lost, not only the latest of several;
    - sends a body of unknown length to an HTTP/1.0 client as that client can read it.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._earlier: list[RequestResponseCycle] = []
        self.loan: Loan | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin as its parent does, but for the addresses: they take eight system calls, and a `prompt` needs none."""
        self.connections.add(self)
        self.transport, self.flow = transport, FlowControl(transport)
        self.scheme = "https" if is_ssl(transport) else "http"

    def on_headers_complete(self) -> None:
        earlier: RequestResponseCycle | None = self.cycle  # None before the first request
        self._unset_keepalive_if_required()  # of an answer that was given in this very call
        if (earlier is None or earlier.response_complete) and self._answered_at_once():
            return
        if self.server is None:
            self.server, self.client = get_local_addr(self.transport), get_remote_addr(self.transport)
        self.scope |= {"server": self.server, "client": self.client}
        super().on_headers_complete()
        if self.cycle is earlier:
            return  # answered without a request of its own
        self.scope["extensions"] = {_EXTENSION: {"protocol": self, "cycle": self.cycle}}
        if earlier is not None and not earlier.response_complete:  # pipelined behind a stream, say
            self._earlier = [cycle for cycle in self._earlier if not cycle.response_complete] + [earlier]
        if self.scope["http_version"] == "1.0":
            _until_close(self.cycle)
        else:
            _in_one_go(self.cycle)

    def _answered_at_once(self) -> bool:
        """Whether the app had an answer at hand. Without a task and a scope, that takes half as long as with them."""
        app: Any = self.app  # as uvicorn was told to call it, with what was put around it
        prompt: Prompt | None = getattr(
            app.app if type(app) is ProxyHeadersMiddleware else app, "prompt", None
        )
        if prompt is None or not self._is_plain():
            return False
        path, _, query = self.url.partition(b"?")
        asked = {"type": "http", "method": "GET", "path": path.decode("latin-1"), "query_string": query}
        try:
            begun = prompt({**asked, "root_path": "", "headers": self.headers})
        except Exception:
            log.exception("stream.bug")
            return False  # the way that all others take has words for it
        if begun is None:
            return False
        exchange = _Exchange(keep_alive=self.parser.should_keep_alive())
        self.cycle = exchange  # type: ignore[assignment]
        self.headers, self.scope = [], {}  # type: ignore[typeddict-item]
        try:
            # What the kernel does not take at once is waited for: what we hold cannot be conflated any more.
            self.transport.set_write_buffer_limits(high=0)
            head = _head([*self.server_state.default_headers, *begun.headers], keep=exchange.keep_alive)
            self.transport.write(head + (framed(begun.first) if begun.first else b""))
            begun.go_on(Loan(self, exchange))
        except Exception:  # to the parser it would be a mistake of the client's
            log.exception("stream.bug")
            begun.give_up()
            self.transport.abort()
        return True

    def _is_plain(self) -> bool:
        """Whether the request has nothing about it that calls for more than its path and a few headers."""
        parser = self.parser
        return (
            parser.get_method() == b"GET"
            and parser.get_http_version() == "1.1"
            and not parser.should_upgrade()
            and not self.expect_100_continue
            and self.scheme == "http"
            and self.limit_concurrency is None
            and not self.root_path
            and b"#" not in self.url
            and not self.flow.write_paused
            and not self.transport.is_closing()
            and not any(name in _OF_A_BODY for name, _ in self.headers)
        )

    def connection_lost(self, exc: Exception | None) -> None:
        for cycle in self._earlier:
            cycle.disconnected = cycle.disconnected or not cycle.response_complete
            cycle.message_event.set()
        super().connection_lost(exc)
        if self.loan is not None:
            self.loan.lost()


@dataclass(frozen=True, slots=True)
class Begun:
    """An answer of unknown length that has begun: its headers, and its first words. `go_on` has the rest.

    `give_up` gives back what it holds, where that could not be said.
    """

    headers: list[tuple[bytes, bytes]]
    first: bytes
    go_on: Callable[[Loan], None]
    give_up: Callable[[], None]


Prompt = Callable[[Scope], Begun | None]
"""Begins the answer to a GET at once, or returns None and has done nothing: it is answered as all others are.

It is asked before anything that stands around the app; who offers one answers for all of that.
"""


class _Exchange:
    """A request that was answered at once, as far as uvicorn looks at what it takes for its `RequestResponseCycle`."""

    __slots__ = ("body", "disconnected", "keep_alive", "message_event", "more_body", "response_complete")

    def __init__(self, *, keep_alive: bool) -> None:
        self.keep_alive, self.response_complete, self.disconnected = keep_alive, False, True
        self.more_body, self.body, self.message_event = True, b"", _NOBODY


class _Nobody:
    """Waits for nothing that may follow."""

    def set(self) -> None:
        """Tell nobody."""


_NOBODY = _Nobody()
_OF_A_BODY = frozenset({b"content-length", b"transfer-encoding"})


class Loan:
    """A connection that uvicorn has lent to a stream: written to without a task, given back by `finish`.

    To uvicorn the request looks like one whose client has gone: it waits for nothing and complains of nothing, and
    the frames of everything that the request went through on its way in are free again.
    """

    __slots__ = ("_cycle", "_protocol", "_transport", "on_lost")

    def __init__(self, protocol: StreamingProtocol, cycle: RequestResponseCycle | _Exchange) -> None:
        self._protocol, self._cycle, self._transport = protocol, cycle, protocol.transport
        self.on_lost: Callable[[], None] | None = None
        protocol.loan = self

    @property
    def is_lost(self) -> bool:
        return self._transport.is_closing()

    @property
    def is_clogged(self) -> bool:
        """Whether the reader has not taken all that was written."""
        return self._protocol.flow.write_paused

    @property
    def unsent_bytes(self) -> int:
        """How much of what was written the kernel has not taken."""
        return self._transport.get_write_buffer_size()

    def write(self, chunk: bytes) -> bool:
        """Write what `framed` returned. False if the kernel did not take all of it: wait until it is `drained`."""
        if not self._transport.is_closing():  # uvloop raises on it, asyncio logs
            self._transport.write(chunk)
        return not self._protocol.flow.write_paused

    async def drained(self) -> None:
        """Return when the kernel has all that was written, or the connection is lost."""
        await self._protocol.flow.drain()

    def finish(self) -> None:
        """End the body, and give the connection back."""
        protocol, cycle = self._protocol, self._cycle
        self.on_lost = protocol.loan = None
        cycle.response_complete = True
        if self._transport.is_closing():
            return
        self._transport.write(b"0\r\n\r\n")
        self._transport.set_write_buffer_limits()
        if not cycle.keep_alive:
            self._transport.close()
        protocol.on_response_complete()

    def abort(self) -> None:
        """Drop what was written: a connection that is only closed waits for ever for its reader to take it."""
        self._transport.abort()

    def lost(self) -> None:
        """Tell the stream that its reader has gone."""
        tell, self.on_lost = self.on_lost, None
        self._protocol.loan = None  # what is left of a stream is not to wait for the garbage collector
        if tell is not None:
            tell()


def framed(body: bytes) -> bytes:
    """Return `body` as one chunk of a chunked body (RFC 9112 §7.1)."""
    return b"%x\r\n%b\r\n" % (len(body), body)


def is_clogged(scope: Scope) -> bool:
    """Whether the reader of a request's connection has yet to take what was written before."""
    return bool(scope["extensions"][_EXTENSION]["protocol"].flow.write_paused)


def is_lendable(scope: Scope) -> bool:
    """Whether a stream can borrow the connection of a request.

    Only plain HTTP/1.1 is lent: TLS writes on its own time, another server and a test client have no such connection.
    """
    transport = transport_of(scope)
    return (
        transport is not None
        and scope["http_version"] == "1.1"
        and transport.get_extra_info("sslcontext") is None
    )


def borrow(scope: Scope) -> Loan | None:
    """Return the connection of a request whose answer has begun; None when its client has gone."""
    found = scope["extensions"][_EXTENSION]
    cycle = found["cycle"]
    if cycle.disconnected:
        return None
    assert cycle.chunked_encoding, "a body of unknown length is sent in chunks"
    protocol: StreamingProtocol = found["protocol"]
    cycle.disconnected, cycle.body = True, bytearray()
    if protocol.scope is cycle.scope:  # no other request is being read
        protocol.headers = []
    # Nobody reads it any more, but what the request came through on its way in may look at it on its way out.
    protocol.loop.call_soon(cycle.scope.clear)
    return Loan(protocol, cycle)


def _in_one_go(cycle: RequestResponseCycle) -> None:
    """Write the head of a stream together with its first words: for most of its readers that is all for a while."""
    plain, head = cycle.send, None

    async def send(message: Any) -> None:
        nonlocal head
        if BEGINS in message:
            head = message
            return
        if head is None:
            await plain(message)
            return
        headers, head = [*cycle.default_headers, *head["headers"]], None
        vars(cycle).pop("send", None)  # with itself inside, it would wait for the garbage collector
        if cycle.flow.write_paused and not cycle.disconnected:
            await cycle.flow.drain()
        if not cycle.disconnected:
            cycle.response_started, cycle.chunked_encoding = True, True
            cycle.waiting_for_100_continue = False
            first: bytes = message["body"]  # an empty chunk would be the end of the body
            cycle.transport.write(_head(headers, keep=cycle.keep_alive) + (framed(first) if first else b""))

    cycle.send = send  # type: ignore[method-assign]


def _head(headers: Iterable[tuple[bytes, bytes]], *, keep: bool) -> bytes:
    """Return the head of a 200 whose body comes in chunks (RFC 9112 §7.1)."""
    told = b"".join([b"%b: %b\r\n" % header for header in headers])
    return b"HTTP/1.1 200 OK\r\n%btransfer-encoding: chunked\r\n%b\r\n" % (
        told,
        b"" if keep else b"connection: close\r\n",
    )


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
    found: dict[str, Any] = scope.get("extensions", {}).get(_EXTENSION, {})
    return found["protocol"].transport if found else None
