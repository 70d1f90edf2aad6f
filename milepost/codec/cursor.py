"""A reader's place in the history of one job: `<epoch>-<seq>`."""

from __future__ import annotations

import re
from dataclasses import dataclass

# At most 64 bytes of [0-9a-z-]: anything else (a colon, say) makes Last-Event-ID an unsafe header, and a
# cross-origin reader would pay a preflight on every reconnect (WHATWG HTML 9.2, Fetch "CORS-safelisted").
_CURSOR = re.compile(r"([0-9a-z]{1,32})-([0-9]{1,15})", re.ASCII)


@dataclass(frozen=True, slots=True)
class Cursor:
    """After which event to go on reading. Two epochs are two histories: their `seq` do not compare."""

    epoch: str
    seq: int

    def __str__(self) -> str:
        return f"{self.epoch}-{self.seq}"

    @classmethod
    def parse(cls, text: str) -> Cursor | None:
        """Read a cursor, whatever a client sent: None when it is none."""
        found = _CURSOR.fullmatch(text) if len(text) <= 64 else None
        return cls(found[1], int(found[2])) if found else None
