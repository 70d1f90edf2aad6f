"""Feeds the reader as fast as a core can: prepared bytes, straight into the sockets. What the client can take.

Takes `<events in one write> <seconds>` on stdin; answers with the events and the writes that it made.
"""

from __future__ import annotations

import socket
import sys
import time

from benchmarks.publisher import event

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n"


def accept(listener: socket.socket, count: int) -> list[socket.socket]:
    """Answer so many requests with a head, and keep their connections."""
    streams = []
    for _ in range(count):
        stream, _ = listener.accept()
        stream.recv(1 << 16)
        stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        stream.sendall(HEAD)
        streams.append(stream)
    return streams


def feed(streams: list[socket.socket], at_once: int, seconds: float) -> tuple[int, int]:
    """Write to one stream after the other until the time is over; return the rounds and what each wrote."""
    began, rounds = time.monotonic(), 0
    while time.monotonic() < began + seconds:
        chunk = (b"event: log\ndata: " + event("bench", rounds) + b"\n\n") * at_once
        for stream in streams:
            stream.sendall(chunk)
        rounds += 1
    return rounds * at_once * len(streams), rounds * len(streams)


def main() -> None:
    port, count = map(int, sys.argv[1:])
    with socket.create_server(("127.0.0.1", port), backlog=1024) as listener:
        print("ready", flush=True)
        streams = accept(listener, count)
    for line in sys.stdin:
        at_once, seconds = line.split()
        print(*feed(streams, int(at_once), float(seconds)), flush=True)


if __name__ == "__main__":
    main()
