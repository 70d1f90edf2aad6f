"""What the worker and its fork server say to each other.

To the server: requests of one size, so that none is ever half there; a start carries the task's end of its
connection as a file descriptor. From it: JSON, one object a line.
"""

from __future__ import annotations

import json
import socket
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

START, SIGNAL = 1, 2

_REQUEST = struct.Struct(">BQQ")


@dataclass(frozen=True, slots=True)
class Request:
    """`number` names the process from its start on. `value`: the limit in bytes (0 for none), or the signal."""

    verb: int
    number: int
    value: int


def ask(control: socket.socket, request: Request, *descriptors: int) -> None:
    """Send one request. Raises `OSError` when the server is gone."""
    raw = _REQUEST.pack(request.verb, request.number, request.value)
    if descriptors:
        socket.send_fds(control, [raw], list(descriptors))
    else:
        control.sendall(raw)


def hear(control: socket.socket) -> tuple[Request, list[int]] | None:
    """Wait for the next request; None when the worker is gone."""
    raw, descriptors, _, _ = socket.recv_fds(control, _REQUEST.size, 1)
    while raw and len(raw) < _REQUEST.size:
        more = control.recv(_REQUEST.size - len(raw))
        if not more:
            return None
        raw += more
    return (Request(*_REQUEST.unpack(raw)), descriptors) if raw else None


def tell(control: socket.socket, **said: Any) -> None:
    """Send one line to the worker. Raises `OSError` when it is gone."""
    control.sendall(json.dumps(said).encode() + b"\n")


class Lines:
    """Cuts what the server says into objects, wherever the reads fall."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, chunk: bytes) -> Iterator[dict[str, Any]]:
        *lines, self._rest = (self._rest + chunk).split(b"\n")
        return (json.loads(line) for line in lines)
