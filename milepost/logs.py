"""Structured logs of a process, on stderr: coloured for people or one JSON object a line."""

from __future__ import annotations

import logging
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
        logger_factory=structlog.PrintLoggerFactory(cast("TextIO", stderr)),
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


class Patient:
    """A stream to log to whose disk may be full: a line that cannot be written is lost, and nothing else.

    Whoever logs is in the middle of some work, which must not end because nobody can be told of it. When the
    stream takes text again, it is told how much is missing.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream, self._lost, self._error = stream, 0, ""

    def write(self, text: str) -> int:
        try:
            if self._lost:
                self._stream.write(f"{self._lost} writes to this log failed: {self._error}\n")
                self._lost = 0
            return self._stream.write(text)
        except OSError as error:
            self._lose(error)
            return len(text)

    def flush(self) -> None:
        try:
            self._stream.flush()
        except OSError as error:
            self._lose(error)

    def _lose(self, error: OSError) -> None:
        self._lost, self._error = self._lost + 1, str(error)


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
