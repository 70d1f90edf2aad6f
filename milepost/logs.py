"""Structured logs of a process, on stderr: coloured for people or one JSON object a line."""

from __future__ import annotations

import errno
import logging
import select
import sys
from typing import Any, TextIO, cast

import structlog

from milepost.secrets import MASKS
from milepost.settings import Settings


def configure_logs(settings: Settings) -> None:
    """Set up structlog, and what the standard `logging` receives from libraries, for this process."""
    json = settings.log_format == "json"
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    last: structlog.typing.Processor = (
        structlog.processors.JSONRenderer()
        if json
        else structlog.dev.ConsoleRenderer(
            colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback
        )
    )
    # Secrets are taken out of the values, where they stand as they are and not as a renderer escapes them; on the
    # console out of the line, too, since it is the renderer that writes tracebacks there.
    end: list[structlog.typing.Processor] = (
        [structlog.processors.format_exc_info, _masked_values, last]
        if json
        else [_masked_values, last, _masked_line]
    )
    stderr = Patient(sys.stderr)
    structlog.configure(
        processors=[*shared, *end],
        wrapper_class=structlog.make_filtering_bound_logger(settings.log_level.upper()),
        logger_factory=structlog.WriteLoggerFactory(cast("TextIO", stderr)),  # a line is one write
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *end],
            foreign_pre_chain=[*shared, structlog.stdlib.add_logger_name],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(settings.log_level.upper())


PATIENCE_MS = 100
"""Whoever reads a pipe may be busy for so long. Only once: from then on nobody waits until it takes something again."""

_PIECE_CHARACTERS = getattr(select, "PIPE_BUF", 512) // 4
"""A pipe that is ready takes PIPE_BUF bytes without blocking (select(2)), and a character is four bytes at most."""


class Patient:
    """A stream to log to whose disk may be full, or which nobody reads: lines are lost then, and nothing else.

    Whoever logs is in the middle of some work, often of an event loop, which must neither end nor stop because
    nobody can be told of it. When the stream takes text again, it is told how much is missing.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream, self._lost, self._error = stream, 0, ""
        self._stuck = self._within_a_line = False
        try:
            self._ready: Any = select.poll()
            self._ready.register(stream.fileno(), select.POLLOUT)
        except (AttributeError, OSError):  # no poll on this platform; no file below, as under test runners
            self._ready = None

    def write(self, text: str) -> int:
        """Write a whole line."""
        try:
            if self._lost:
                end = "\n" if self._within_a_line else ""
                self._put(f"{end}{self._lost} writes to this log failed: {self._error}\n")
                self._lost, self._within_a_line = 0, False
            for start in range(0, len(text), _PIECE_CHARACTERS):
                self._put(text[start : start + _PIECE_CHARACTERS])
                self._within_a_line = True
            self._within_a_line = False
        except OSError as error:
            self._lost, self._error = self._lost + 1, str(error)
        return len(text)

    def flush(self) -> None:
        """Nothing is held back."""

    def _put(self, piece: str) -> None:
        if self._ready is not None:
            self._stuck = not self._ready.poll(0 if self._stuck else PATIENCE_MS)
            if self._stuck:
                raise BlockingIOError(errno.EAGAIN, "it is not read")
        self._stream.write(piece)
        self._stream.flush()


_UNSAID = frozenset({"exc_info", "_record", "_from_structlog"})
"""What structlog itself still has to make words of."""


def _masked_values(
    _logger: Any, _method: str, entry: structlog.typing.EventDict
) -> structlog.typing.EventDict:
    if not MASKS:
        return entry
    return {name: value if name in _UNSAID else MASKS.shown(value) for name, value in entry.items()}


def _masked_line(_logger: Any, _method: str, line: Any) -> str:
    return MASKS.text(str(line))
