"""What stands between a browser and the API: it passes, refuses, gathers, swallows and cuts, and counts what is asked.

Unlike `TcpProxy` it reads HTTP, so it can tell a stream from a file, and it hands out the page itself: a page that is
there already stays there, whatever happens to the API.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from http import HTTPStatus
from typing import Self
from urllib.parse import parse_qs, urlsplit

from milepost.background import end
from tests.support.process import ROOT

FRONTEND = ROOT / "frontend"
PAGE = "/app"
"""An empty page: what a test wants in it, it puts there."""

_BLANK = b"<!doctype html><html lang=en><title>App</title><link rel=icon href=data:,><main></main>"
_TYPES = {".js": "text/javascript", ".css": "text/css", ".json": "application/json"}
_RESET = struct.pack("ii", 1, 0)  # SO_LINGER on, zero seconds: close sends RST
_CHUNK_BYTES = 65_536


@dataclass
class Asked:
    """One request to the API, and the status of its answer: None until there is one."""

    method: str
    target: str
    headers: dict[str, str]
    status: int | None = None
    over: bool = False

    @property
    def path(self) -> str:
        return urlsplit(self.target).path

    @property
    def query(self) -> dict[str, list[str]]:
        return parse_qs(urlsplit(self.target).query, keep_blank_values=True)

    @property
    def is_stream(self) -> bool:
        return self.path.endswith("/stream")

    @property
    def cursor(self) -> str:
        """Where it asks to go on: the header wins, as it does in the API."""
        return self.headers.get("last-event-id") or self.query.get("last_event_id", [""])[0]

    def __str__(self) -> str:
        return f"{self.method} {self.target} -> {self.status}{'' if self.over else ' …'}"


@dataclass(eq=False)
class _Link:
    near: asyncio.StreamWriter
    far: asyncio.StreamWriter | None = None
    is_dead: bool = False

    def reset(self) -> None:
        for writer in (self.near, self.far):
            if writer is not None and not writer.transport.is_closing():
                sock: socket.socket = writer.get_extra_info("socket")
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
                writer.transport.abort()


class Middlebox:
    """An HTTP/1.1 proxy on a port of its own; `async with Middlebox(api_url) as box`. One request a connection."""

    def __init__(self, target: str, port: int = 0) -> None:
        parts = urlsplit(target)
        assert parts.hostname is not None
        assert parts.port is not None
        self._target = (parts.hostname, parts.port)
        self.asked: list[Asked] = []
        self.port = port
        self._status: int | None = None
        self._only: Callable[[Asked], bool] = _any
        self._gathers = False
        self._flowing = asyncio.Event()
        self._flowing.set()
        self._links: dict[_Link, asyncio.Task[None]] = {}
        self._server: asyncio.Server | None = None

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        tasks = list(self._links.values())
        for link, task in list(self._links.items()):
            link.reset()
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def page(self) -> str:
        return self.url + PAGE

    @property
    def streams(self) -> list[Asked]:
        """The requests for streams so far, in order."""
        return [one for one in self.asked if one.is_stream]

    @property
    def open_streams(self) -> int:
        return sum(not one.over for one in self.streams)

    def forget(self) -> None:
        """Count from here."""
        self.asked.clear()

    # --- moods -----------------------------------------------------------------------------------

    def passes(self) -> None:
        """Let everything through, what was held back first."""
        self._status, self._only, self._gathers = None, _any, False
        self._flowing.set()

    def answers(self, status: int, only: Callable[[Asked], bool] | None = None) -> None:
        """Answer with this status and a page in HTML, as proxies do; what is open stays open."""
        self._status, self._only = status, only or _any

    def gathers(self) -> None:
        """Give an answer to the browser when it has come to its end, and nothing of it before."""
        self._gathers = True

    def swallows(self) -> None:
        """Take what is said, on connections old and new, and pass nothing on, to either side."""
        self._flowing.clear()

    def deadens(self) -> None:
        """Swallow for ever what is said on the connections that are open; later ones work."""
        for link in self._links:
            link.is_dead = True

    def cuts(self) -> None:
        """Reset every connection that is open."""
        for link in list(self._links):
            link.reset()

    # --- one connection --------------------------------------------------------------------------

    async def _serve(self, near: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        link = _Link(writer)
        task = asyncio.current_task()
        assert task is not None
        self._links[link] = task
        try:
            await self._answer(link, near)
        except (OSError, asyncio.IncompleteReadError):
            link.reset()
        finally:
            del self._links[link]
            writer.close()
            if link.far is not None:
                link.far.close()

    async def _answer(self, link: _Link, near: asyncio.StreamReader) -> None:
        asked, head = await _read(near)
        if asked.path == PAGE or asked.path.startswith("/src/"):
            return await _send_file(link.near, asked.path)
        self.asked.append(asked)
        body = await near.readexactly(int(asked.headers.get("content-length", 0)))
        listening = asyncio.create_task(_until_gone(near))
        working = asyncio.create_task(self._work(link, asked, head + body))
        try:
            await asyncio.wait((listening, working), return_when=asyncio.FIRST_COMPLETED)
        finally:
            asked.over = True
            await end(listening, working)

    async def _work(self, link: _Link, asked: Asked, request: bytes) -> None:
        await self._flowing.wait()
        if self._status is not None and self._only(asked):
            return await _refuse(link.near, asked, self._status)
        try:
            reader, link.far = await asyncio.open_connection(*self._target)
            link.far.write(request)
            await self._replies(reader, link, asked)
        except OSError:
            link.reset()  # gone, on one side: gone on the other

    async def _replies(self, reader: asyncio.StreamReader, link: _Link, asked: Asked) -> None:
        gathered = b""
        while data := await reader.read(_CHUNK_BYTES):
            if asked.status is None:
                asked.status = int(data.split(b" ", 2)[1])
            if self._gathers:
                gathered += data
                continue
            await self._flowing.wait()
            if link.is_dead:
                continue
            link.near.write(data)
            await link.near.drain()
        await self._flowing.wait()
        if link.is_dead:
            await asyncio.Event().wait()  # until the browser gives it up
        link.near.write(gathered)
        await link.near.drain()


async def _until_gone(near: asyncio.StreamReader) -> None:
    """Return when the browser has closed its connection."""
    with suppress(OSError):
        while await near.read(_CHUNK_BYTES):
            pass


async def _read(near: asyncio.StreamReader) -> tuple[Asked, bytes]:
    """Read the head of a request; return it, and as it goes to the API: this connection is for it alone."""
    head = (await near.readuntil(b"\r\n\r\n")).decode("latin-1")
    first, *lines = head.rstrip("\r\n").split("\r\n")
    method, target, _ = first.split(" ")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    kept = [line for line in lines if not line.lower().startswith("connection:")]
    passed = "\r\n".join((first, *kept, "Connection: close", "", ""))
    return Asked(method, target, headers), passed.encode("latin-1")


async def _send_file(near: asyncio.StreamWriter, path: str) -> None:
    body, kind = (_BLANK, "text/html") if path == PAGE else _file(path)
    await _write(near, 200, body, kind)


def _file(path: str) -> tuple[bytes, str]:
    file = FRONTEND / path.lstrip("/")
    return file.read_bytes(), _TYPES[file.suffix]


async def _refuse(near: asyncio.StreamWriter, asked: Asked, status: int) -> None:
    asked.status = status
    await _write(near, status, f"<html><h1>{status}</h1></html>".encode(), "text/html")


async def _write(near: asyncio.StreamWriter, status: int, body: bytes, kind: str) -> None:
    head = (
        f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\nContent-Type: {kind}\r\nConnection: close\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    near.write(head.encode() + body)
    await near.drain()


def _any(_asked: Asked) -> bool:
    return True
