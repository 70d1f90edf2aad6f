"""Newline-delimited JSON: the same objects as SSE, one a line."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any


def encode_line(data: bytes) -> bytes:
    """Return one line for one event's JSON."""
    return data + b"\n"


def decode_lines(chunks: Iterable[bytes]) -> Iterator[dict[str, Any]]:
    """Yield the objects of an NDJSON stream, wherever its chunks fall; blank lines are skipped.

    A last line without its line end was cut off and is not an event, as an unfinished block of SSE is none.
    """
    partial = b""
    for chunk in chunks:
        *lines, partial = (partial + chunk).split(b"\n")
        for line in lines:
            if line.strip():
                yield json.loads(line)
