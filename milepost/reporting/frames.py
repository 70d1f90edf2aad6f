"""Messages on a pipe or socket between a worker and the process of one task: a kind, a length, the bytes."""

from __future__ import annotations

import os
import struct
from typing import BinaryIO

from milepost.errors import BrokenRelay

JOB, STOP, REPORTS, RESULT, ERROR = b"J", b"S", b"R", b"=", b"!"
"""To the child: what to run, why to end. From it: reports, its result, what it raised."""

FRAME_BYTES = (64 << 20) + (1 << 20)
"""The longest message: the longest result (64 MiB) and room to spare. A longer one is none of ours."""

_TOGETHER = 65_536
_HEAD = struct.Struct(">cI")


def pack(kind: bytes, payload: bytes, length: int | None = None) -> bytes:
    """Return one message as bytes, or its beginning, if `length` says that more follows."""
    return _HEAD.pack(kind, len(payload) if length is None else length) + payload


def write(fd: int, kind: bytes, payload: bytes) -> None:
    """Write one message, however long that takes. Raises `OSError` when nobody reads any more."""
    head = pack(kind, payload[:_TOGETHER], len(payload))  # a short message is one write
    for part in (head, memoryview(payload)[_TOGETHER:]):
        rest = memoryview(part)
        while rest:
            rest = rest[os.write(fd, rest) :]


def read(file: BinaryIO) -> tuple[bytes, bytes] | None:
    """Return the next message, or None when the other side has closed, be it in the middle of one.

    Raises `BrokenRelay` for what cannot be a message.
    """
    head = file.read(_HEAD.size)
    if len(head) < _HEAD.size:
        return None
    kind, length = _HEAD.unpack(head)
    if kind not in {JOB, STOP, REPORTS, RESULT, ERROR} or length > FRAME_BYTES:
        raise BrokenRelay(
            f"The task's process wrote something that is no message of Milepost's ({head!r}). "
            "Does the task write to file descriptors that it has not opened?"
        )
    payload = file.read(length)
    return (kind, payload) if len(payload) == length else None
