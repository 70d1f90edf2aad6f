"""A client that is not the bottleneck: thousands of SSE streams read by one thread with epoll, no parser.

Publishers put the monotonic time into every event as `@<ns>@`. All streams are read into one big buffer, and
counting a delivery is counting its marks there, at the speed of C. Latencies are exact, and taken from a sample
of the streams. The row `client` shows how much it can take.
"""

from __future__ import annotations

import re
import select
import socket
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Self

MARK = re.compile(rb"@(\d{6,})@")
SAMPLED_STREAMS = 50
BUFFER_BYTES = 1 << 18
IN_FLIGHT = 500
"""Streams that are being opened at once: a storm, but one that fits into every server's backlog."""


@dataclass
class Readings:
    """What a run of the reader has seen: deliveries, and latencies in seconds from the sampled streams."""

    marks: int = 0
    """Every event carries two, and may arrive in two pieces."""
    received_bytes: int = 0
    reads: int = 0
    latencies: list[float] = field(default_factory=list)
    last: float = 0.0
    """When the last delivery arrived, by the monotonic clock in seconds."""
    closed: int = 0
    """Streams that the server has ended."""

    @property
    def deliveries(self) -> int:
        return self.marks // 2

    def percentile(self, part: float) -> float:
        ordered = sorted(self.latencies)
        return ordered[min(len(ordered) - 1, int(len(ordered) * part))] if ordered else float("nan")


@dataclass(frozen=True)
class Opened:
    """How long it took until all streams were ready, and how many answers sent the client away for a while."""

    seconds: float
    turned_away: int


@dataclass
class _Opening:
    number: int
    path: str
    said: bytes = b""


def _is_over(data: bytes, said: bytes) -> bool:
    """Whether the answer is not a stream: the connection was closed, or the body has a length."""
    return not data or b"content-length:" in said.lower()


class Reader:
    """Opens streams, then reads all of them until a number of deliveries or a deadline."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._poll = select.epoll()
        self._streams: dict[int, socket.socket] = {}
        self._receive: dict[int, Callable[[bytearray], int]] = {}
        self._paths: dict[int, str] = {}
        self._sampled: set[int] = set()
        self._heard: set[int] = set()
        self._last_words = b""
        self._buffer = bytearray(BUFFER_BYTES)

    def open(self, paths: Sequence[str], ready: bytes, seconds: float) -> Opened:
        """Open a stream for every path, `IN_FLIGHT` at once; return when each of them has said `ready`.

        One that is ended before that is opened again, as browsers do. Raises `TimeoutError` when not all are ready
        within `seconds`.
        """
        began, left, turned_away = time.monotonic(), deque(enumerate(paths)), 0
        every = max(1, len(paths) // SAMPLED_STREAMS)
        waiting: dict[int, _Opening] = {}
        while left or waiting:
            while left and len(waiting) < IN_FLIGHT:
                number, path = left.popleft()
                waiting[self._connect(path, sampled=number % every == 0)] = _Opening(number, path)
            for again in self._first_words(waiting, ready):
                left.append(again)
                turned_away += 1
            if time.monotonic() > began + seconds:
                raise TimeoutError(
                    f"{len(left) + len(waiting)} of {len(paths)} streams were not open after {seconds:g} s, "
                    f"{turned_away} were turned away; one of them said {self._last_words[:500]!r}"
                )
        return Opened(time.monotonic() - began, turned_away)

    def _connect(self, path: str, *, sampled: bool) -> int:
        stream = socket.create_connection(("127.0.0.1", self._port), 30)
        stream.sendall(f"GET {path} HTTP/1.1\r\nHost: b\r\nAccept: text/event-stream\r\n\r\n".encode())
        stream.setblocking(False)
        fd = stream.fileno()
        self._streams[fd], self._receive[fd] = stream, stream.recv_into
        self._paths[fd] = path
        self._poll.register(fd, select.EPOLLIN)
        if sampled:
            self._sampled.add(fd)
        return fd

    def _first_words(self, waiting: dict[int, _Opening], ready: bytes) -> list[tuple[int, str]]:
        """Take what has arrived; return the paths of streams that were ended before they were ready."""
        turned_away = []
        for fd, _ in self._poll.poll(0.2):
            data = self._received(fd)
            opening = waiting.get(fd)
            if opening is None:
                if not data:
                    self._end(fd)
                continue
            opening.said += data
            if ready in opening.said:
                del waiting[fd]
            elif _is_over(data, opening.said):
                self._last_words = opening.said
                self._end(fd)
                turned_away.append((opening.number, opening.path))
                del waiting[fd]
        return turned_away

    def heard(self, seconds: float, most: int) -> int:
        """Read for so long, or until `most` more streams had their first marked event; return how many had it.

        A stream that was ended is opened again: a server that takes a thousand at once may drop some of them.
        """
        deadline, before = time.monotonic() + seconds, len(self._heard)
        while len(self._heard) < before + most and time.monotonic() < deadline:
            for fd, _ in self._poll.poll(0.05):
                data = self._received(fd)
                if not data:
                    path, sampled = self._paths[fd], fd in self._sampled
                    self._end(fd)
                    self._connect(path, sampled=sampled)
                elif b"@" in data:
                    self._heard.add(fd)
        return len(self._heard) - before

    def _received(self, fd: int) -> bytes:
        """Return what one stream holds; nothing means that it was ended."""
        try:
            return self._streams[fd].recv(BUFFER_BYTES)
        except ConnectionResetError:
            return b""

    def drain(self, silence: float = 0.3, seconds: float = 20) -> None:
        """Read and forget, until nothing has arrived for `silence`, at most `seconds`."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline and self._read_once(Readings(), silence):
            pass

    def read(self, *, deliveries: float, seconds: float, seen: Readings | None = None) -> Readings:
        """Read until so many marked events have arrived, or the time is over; goes on from what was `seen` before."""
        seen = seen or Readings()
        deadline = time.monotonic() + seconds
        while seen.deliveries < deliveries and time.monotonic() < deadline:
            self._read_once(seen, 0.2)
        return seen

    def _read_once(self, seen: Readings, timeout: float) -> int:
        """Take what every readable stream holds; return how many there were."""
        ready = self._poll.poll(timeout, len(self._streams) or 1)
        buffer, receive, sampled = self._buffer, self._receive, self._sampled
        count = partial(buffer.count, b"@", 0)
        marks = 0
        for fd, _ in ready:
            try:
                size = receive[fd](buffer)
            except OSError:
                size = 0
            if not size:
                self._end(fd)
                seen.closed += 1
                continue
            seen.received_bytes += size
            if fd in sampled:
                now = time.monotonic_ns()
                seen.latencies += [
                    (now - int(mark)) / 1e9 for mark in MARK.findall(memoryview(buffer)[:size])
                ]
            marks += count(size)
        if marks:
            seen.marks += marks
            seen.last = time.monotonic()
        seen.reads += len(ready)
        return len(ready)

    def _end(self, fd: int) -> None:
        self._poll.unregister(fd)
        self._streams.pop(fd).close()
        del self._receive[fd]
        for known in (self._sampled, self._heard):
            known.discard(fd)  # the number will be another stream's

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for stream in self._streams.values():
            stream.close()
        self._poll.close()
