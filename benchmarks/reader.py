"""A client that is not the bottleneck: thousands of SSE streams read by one thread with epoll, no parser.

Publishers put the monotonic time into every event as `@<ns>@`; the reader finds these marks in what arrives.
A delivery's latency is taken from a sample of the streams, so that counting stays cheap.
"""

from __future__ import annotations

import re
import selectors
import socket
import time
from dataclasses import dataclass, field

MARK = re.compile(rb"@(\d{6,})@")
SAMPLED_STREAMS = 50


@dataclass
class Readings:
    """What a run of the reader has seen: deliveries, and latencies in seconds from the sampled streams."""

    deliveries: int = 0
    received_bytes: int = 0
    latencies: list[float] = field(default_factory=list)
    writes: int = 0
    last: float = 0.0
    """When the last delivery arrived, by the monotonic clock in seconds."""

    def percentile(self, part: float) -> float:
        ordered = sorted(self.latencies)
        return ordered[min(len(ordered) - 1, int(len(ordered) * part))] if ordered else float("nan")


class Reader:
    """Opens streams with `open`, then reads all of them until a number of deliveries or a deadline."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._selector = selectors.DefaultSelector()
        self._streams: list[socket.socket] = []
        self._spoken: set[int] = set()

    def open(self, path: str) -> None:
        stream = socket.create_connection(("127.0.0.1", self._port), 30)
        stream.sendall(f"GET {path} HTTP/1.1\r\nHost: b\r\nAccept: text/event-stream\r\n\r\n".encode())
        sampled = len(self._streams) % max(1, self._every) == 0
        stream.setblocking(False)
        self._selector.register(stream, selectors.EVENT_READ, sampled)
        self._streams.append(stream)

    _every = 1

    def open_many(self, paths: list[str]) -> None:
        self._every = max(1, len(paths) // SAMPLED_STREAMS)
        for path in paths:
            self.open(path)

    def read(self, *, deliveries: int, seconds: float) -> Readings:
        """Read until so many marked events have arrived, or the time is over."""
        seen = Readings()
        deadline = time.monotonic() + seconds
        while seen.deliveries < deliveries and time.monotonic() < deadline:
            for key, _ in self._selector.select(0.2):
                self._take(key, seen)
        return seen

    def settle(self, seconds: float) -> int:
        """Read and forget what the streams say at first; return how many of them have said anything so far."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            for key, _ in self._selector.select(0.1):
                self._spoken.add(key.fd)
                self._take(key, Readings())
        return len(self._spoken)

    def _take(self, key: selectors.SelectorKey, seen: Readings) -> None:
        stream = key.fileobj
        assert isinstance(stream, socket.socket)
        try:
            data = stream.recv(1 << 18)
        except BlockingIOError:
            return
        if not data:
            self._selector.unregister(stream)
            return
        now = time.monotonic_ns()
        before = seen.deliveries
        seen.received_bytes += len(data)
        seen.writes += 1
        if key.data:
            marks = MARK.findall(data)
            seen.latencies.extend((now - int(mark)) / 1e9 for mark in marks)
            seen.deliveries += len(marks)
        else:
            seen.deliveries += data.count(b"@") // 2
        if seen.deliveries > before:
            seen.last = now / 1e9

    def close(self) -> None:
        for stream in self._streams:
            stream.close()
        self._selector.close()
