"""Lines of many processes on one terminal: prefixed, coloured, never in the way of those who write them."""

from __future__ import annotations

import queue
import threading
from collections.abc import Mapping
from typing import TextIO

HELD_LINES = 10_000
"""Lines kept for a terminal that is paused or slow (Ctrl-S, a pager); what comes after that is counted."""

_COLOURS: Mapping[str, str] = {"redis": "35", "worker": "33", "api": "36", "milepost": "32"}


class Terminal:
    """Writes lines in a thread of its own, so that a paused terminal can never stop the supervisor."""

    def __init__(self, out: TextIO, *, colour: bool, quiet: bool = False, width: int = 8) -> None:
        self._out, self._colour, self._quiet, self._width = out, colour, quiet, width
        self._lines: queue.Queue[str | None] = queue.Queue(HELD_LINES)
        self._dropped = 0
        self._gone = False
        self._writer = threading.Thread(target=self._write_all, name="milepost-terminal", daemon=True)
        self._writer.start()

    def line(self, source: str, text: str) -> None:
        """Show one line of `source`, unless quiet."""
        if not self._quiet:
            self._put(f"{self._prefix(source)} {text}")

    def plain(self, text: str) -> None:
        """Show one line as it is."""
        self._put(text)

    def close(self, *, wait_seconds: float = 1.0) -> None:
        """Write what is held, unless the terminal takes longer than that."""
        try:
            self._lines.put(None, timeout=wait_seconds)
        except queue.Full:
            return
        self._writer.join(wait_seconds)

    def _prefix(self, source: str) -> str:
        label = f"{source:<{self._width}} |"
        return f"\x1b[{_COLOURS.get(source, '37')}m{label}\x1b[0m" if self._colour else label

    def _put(self, line: str) -> None:
        try:
            self._lines.put_nowait(line)
        except queue.Full:
            self._dropped += 1

    def _write_all(self) -> None:
        while (line := self._lines.get()) is not None:
            self._write(line)
            if self._dropped and self._lines.empty():
                self._confess()
        if self._dropped:
            self._confess()

    def _confess(self) -> None:
        dropped, self._dropped = self._dropped, 0
        self._write(f"{self._prefix('milepost')} ({dropped} lines left out: this terminal is too slow)")

    def _write(self, line: str) -> None:
        if self._gone:
            return
        try:
            self._out.write(line + "\n")
            self._out.flush()
        except (OSError, ValueError):
            self._gone = True  # the terminal or the pipe was closed: the jobs matter more than their log
