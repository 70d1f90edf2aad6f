"""Server-sent events, WHATWG HTML §9.2: frames out, and bytes in by a decoder that needs no socket."""

from __future__ import annotations

import codecs
from dataclasses import dataclass

_RETRY_DIGITS = 9  # eleven days; `int` raises ValueError beyond 4300 digits, and a server may send any number


def encode_frame(kind: str, data: bytes, cursor: str | None = None) -> bytes:
    """Return one SSE block. `data` is one line of JSON; without `cursor` the reader's place stays.

    Every block has a `data:` line: one without it is never dispatched (§9.2.6), not even `event: end`.
    """
    head = b"" if cursor is None else b"id: " + cursor.encode("ascii") + b"\n"
    return b"%sevent: %s\ndata: %s\n\n" % (head, kind.encode("ascii"), data)


def encode_retry(milliseconds: int) -> bytes:
    """Return the block that tells a reader how long to wait before it reconnects."""
    return b"retry: %d\n\n" % milliseconds


@dataclass(frozen=True, slots=True)
class Frame:
    """One dispatched event. `id` is the last event id as of this frame, "" if none was ever sent."""

    event: str
    data: str
    id: str


class _Lines:
    """Cut text into lines at CR, LF or CRLF, wherever the chunks fall."""

    def __init__(self) -> None:
        self._partial: list[str] = []  # joined once per line: a long line stays linear
        self._after_cr = False

    def feed(self, chunk: str) -> list[str]:
        if not chunk:
            return []
        if self._after_cr:
            chunk = chunk.removeprefix("\n")
        self._after_cr = chunk.endswith("\r") if chunk else False
        *lines, rest = chunk.replace("\r\n", "\n").replace("\r", "\n").split("\n")
        if lines:
            lines[0] = "".join((*self._partial, lines[0]))
            self._partial.clear()
        self._partial.append(rest)
        return lines


class SseDecoder:
    """Feed it bytes, get the frames they complete. An unfinished block at the end is not an event (§9.2.6).

    After a frame or not, `last_event_id` is what a reconnect must send, and `retry_ms` the wait that the
    server asked for, if it did.
    """

    def __init__(self) -> None:
        self.last_event_id = ""
        self.retry_ms: int | None = None
        self._utf8 = codecs.getincrementaldecoder("utf-8")("replace")
        self._lines = _Lines()
        self._at_start = True
        self._event = ""
        self._data: list[str] = []
        self._id = ""

    def feed(self, chunk: bytes) -> list[Frame]:
        text = self._utf8.decode(chunk)
        if self._at_start and text:
            text, self._at_start = text.removeprefix("\ufeff"), False
        return [frame for line in self._lines.feed(text) if (frame := self._line(line)) is not None]

    def _line(self, line: str) -> Frame | None:
        if not line:
            return self._dispatch()
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        match name:
            case "event":
                self._event = value
            case "data":
                self._data.append(value)
            case "id" if "\0" not in value:
                self._id = value
            case "retry" if value.isascii() and value.isdigit() and len(value) <= _RETRY_DIGITS:
                self.retry_ms = int(value)
        return None  # comments (an empty name) and unknown fields are ignored

    def _dispatch(self) -> Frame | None:
        self.last_event_id = self._id
        event, data = self._event or "message", self._data
        self._event, self._data = "", []
        return Frame(event, "\n".join(data), self._id) if data else None
