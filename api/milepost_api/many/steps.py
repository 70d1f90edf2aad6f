"""The last steps of a stream, held small: how far a reader can be taken back."""

from __future__ import annotations

import json
import zlib
from collections import deque

BLOCK_STEPS = 512
BLOCKS_HELD = 16
"""8,192 events: more than a megabyte of the shortest. So much may have been sent and lie unread between server and
reader when the connection is cut; one that lacks more gets everything anew. A block takes some 6 kB."""

Step = tuple[str, str]


class Steps:
    """Which job was told of, and its standing before that; the oldest beyond what is held are forgotten."""

    __slots__ = ("_blocks", "_latest")

    def __init__(self) -> None:
        self._blocks: deque[bytes] = deque(maxlen=BLOCKS_HELD)
        self._latest: list[Step] = []

    def add(self, job_id: str, before: str) -> None:
        self._latest.append((job_id, before))
        if len(self._latest) == BLOCK_STEPS:
            self._blocks.append(zlib.compress(json.dumps(self._latest).encode(), 1))
            self._latest = []

    def all(self) -> tuple[Step, ...]:
        """Return what is held, the latest at the end."""
        old = (step for block in self._blocks for step in json.loads(zlib.decompress(block)))
        return (*((job_id, before) for job_id, before in old), *self._latest)
