"""A TCP proxy inside the test, for networks that misbehave."""

from __future__ import annotations

import asyncio
import socket
import ssl
import struct
from types import TracebackType
from typing import Any, Self, cast
from urllib.parse import urlsplit

_CHUNK_BYTES = 65536
_RESET = struct.pack("ii", 1, 0)  # SO_LINGER on, zero seconds: close sends RST


class _Link:
    """One connection of a client and its twin to the target."""

    def __init__(self, proxy: TcpProxy, near: asyncio.StreamWriter, far: asyncio.StreamWriter) -> None:
        self._proxy, self._near, self._far = proxy, near, far
        self._left = proxy.next_cut()
        self._eating = False
        self.is_dead = False

    async def carry(self, client: asyncio.StreamReader, target: asyncio.StreamReader) -> None:
        """Return when the target has said all it will, or the cut is reached, or the client is gone."""
        requests = asyncio.create_task(self._requests(client))
        try:
            await self._replies(target)
        except OSError:
            self.abort()  # reset by the target: so is the client
        finally:
            requests.cancel()
            await asyncio.gather(requests, return_exceptions=True)

    async def _requests(self, client: asyncio.StreamReader) -> None:
        try:
            while data := await client.read(_CHUNK_BYTES):
                self._eating = self._eating or self._proxy.eats(data)
                await self._pass(data, self._far)
            self._far.write_eof()  # a client may stop talking and still listen
        except OSError:
            self.abort()

    async def _replies(self, target: asyncio.StreamReader) -> None:
        while self._left != 0 and (data := await target.read(_CHUNK_BYTES)):
            if self._eating:
                self._proxy.eaten += 1
                self.abort()
                return
            if self._left is not None:
                data = data[: self._left]
                self._left -= len(data)
            await self._pass(data, self._near)
            self._proxy.reply_bytes += len(data)

    async def _pass(self, data: bytes, sink: asyncio.StreamWriter) -> None:
        if self._proxy.delay_seconds:
            await asyncio.sleep(self._proxy.delay_seconds)  # the slow network itself
        await self._proxy.flowing.wait()
        if self.is_dead:
            return
        sink.write(data)
        await sink.drain()

    def abort(self) -> None:
        for writer in (self._near, self._far):
            if not writer.transport.is_closing():
                sock: socket.socket = writer.get_extra_info("socket")
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            writer.transport.abort()


class TcpProxy:
    """Forwards 127.0.0.1:`port` to a target, and does what it is told to the connections.

    `target` is a URL or `(host, port)`; `url` is the same URL through the proxy. Counts `connections`
    (ever accepted) and `reply_bytes`. `delay_seconds` holds every piece of data back, both ways. With `others`
    connections go to all of them in turn, past those that refuse: what a load balancer does. With `tls` its
    clients must speak TLS, the targets hear plain text.
    """

    def __init__(
        self,
        target: str | tuple[str, int],
        *others: str | tuple[str, int],
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._tls = tls
        self._template = _endpoint(target)[2]
        self._targets = [_endpoint(one)[:2] for one in (target, *others)]
        self.port = 0
        self.delay_seconds = 0.0
        self.connections = 0
        self.reply_bytes = 0
        self.flowing = asyncio.Event()
        self.flowing.set()
        self.eaten = 0
        self._appetite: bytes | None = None
        self._cuts: list[int] = []
        self._cut_always: int | None = None
        self._links: dict[_Link, asyncio.Task[Any]] = {}
        self._server: asyncio.Server | None = None

    async def __aenter__(self) -> Self:
        await self.accept()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.refuse()
        tasks = list(self._links.values())
        self.drop_all()
        await asyncio.gather(*tasks, return_exceptions=True)

    @property
    def url(self) -> str:
        return self._template.replace("HOST:PORT", f"127.0.0.1:{self.port}")

    @property
    def open_connections(self) -> int:
        return len(self._links)

    def cut_after(self, reply_bytes: int | None) -> None:
        """End every later connection when it has carried so many bytes of replies; None: never."""
        self._cut_always = reply_bytes

    def cut_next_after(self, *reply_bytes: int) -> None:
        """The same for the next connections only, one number for each."""
        self._cuts.extend(reply_bytes)

    def next_cut(self) -> int | None:
        return self._cuts.pop(0) if self._cuts else self._cut_always

    def eat_reply_to(self, words: bytes | None) -> None:
        """Let the next request that holds `words` through, swallow its reply and reset the connection.

        What was asked for has happened, and whoever asked cannot know. `eaten` counts; None: no more of it.
        """
        self._appetite = words

    def eats(self, request: bytes) -> bool:
        if self._appetite is None or self._appetite not in request:
            return False
        self._appetite = None
        return True

    def retarget(self, target: str | tuple[str, int]) -> None:
        """Forward later connections there: what a load balancer does when a server leaves."""
        self._targets = [_endpoint(target)[:2]]

    def blackhole(self) -> None:
        """Swallow everything from now on, both ways, and keep the connections open."""
        self.flowing.clear()

    def restore(self) -> None:
        """Let through again, what was held back first."""
        self.flowing.set()

    def deaden(self) -> None:
        """Swallow for ever what is said on the connections that are open, and keep them; later ones work.

        What a router does that has forgotten a connection: neither side hears that it is no more.
        """
        for link in self._links:
            link.is_dead = True

    def drop_all(self) -> None:
        """Reset every connection that is open."""
        for link, task in list(self._links.items()):
            link.abort()
            task.cancel()

    async def refuse(self) -> None:
        """Stop listening: who connects now is refused."""
        if self._server is not None:
            self._server.close()
            self._server = None

    async def accept(self) -> None:
        """Listen, on the same port as before."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port, ssl=self._tls)
        self.port = self._server.sockets[0].getsockname()[1]

    async def _serve(self, client: asyncio.StreamReader, near: asyncio.StreamWriter) -> None:
        ends = await self._reach()
        if ends is None:
            self.connections += 1
            near.transport.abort()
            return
        target, far = ends
        link = _Link(self, near, far)
        self.connections += 1  # counted once it is there to be dropped
        self._links[link] = cast("asyncio.Task[Any]", asyncio.current_task())
        try:
            await link.carry(client, target)
        finally:
            del self._links[link]
            near.close()
            far.close()

    async def _reach(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter] | None:
        """Connect to the target whose turn it is, or to the next one that does not refuse."""
        for _ in self._targets:
            self._targets.append(self._targets.pop(0))
            try:
                return await asyncio.open_connection(*self._targets[-1])
            except OSError:
                continue
        return None


def _endpoint(target: str | tuple[str, int]) -> tuple[str, int, str]:
    if isinstance(target, tuple):
        return (*target, "HOST:PORT")
    parts = urlsplit(target)
    if parts.hostname is None or parts.port is None:
        raise ValueError(f"{target!r} names no host and port to forward to")
    location = parts.netloc.rpartition("@")
    return parts.hostname, parts.port, parts._replace(netloc=f"{location[0]}{location[1]}HOST:PORT").geturl()
