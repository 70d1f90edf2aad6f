"""A handler for the standard `logging`: what a task's own code and its libraries log becomes `log` events."""

from __future__ import annotations

import logging
from contextvars import ContextVar
from typing import Any

from milepost.reporting.reporter import NAME_CHARACTERS, here

RECORD_CHARACTERS = 20_000
"""The longest text of a record; of a longer one the middle is left out."""

_NOT_OURS = ("milepost", "milepost_api", "milepost_worker", "arq", "redis", "asyncio")
"""Loggers of the machinery below a task: what they say is about the worker, not the job."""

_LEVELS = (
    (logging.CRITICAL, "critical"),
    (logging.ERROR, "error"),
    (logging.WARNING, "warning"),
    (logging.INFO, "info"),
)
_EMITTING: ContextVar[bool] = ContextVar("milepost_emitting", default=False)


class ProgressHandler(logging.Handler):
    """Reports records that are logged inside a job to those who watch it; outside a job it does nothing.

    `logging.getLogger().addHandler(ProgressHandler())`. The logger's name is the `source`, the text of an
    exception is part of the message. It never raises into the task, not even when the task is to stop.
    """

    def createLock(self) -> None:  # noqa: N802 -- logging's name
        # Reports may wait for room, and other jobs' threads must not wait for this one's. The sink has its own lock.
        self.lock = None

    def handle(self, record: logging.LogRecord) -> bool:
        kept: Any = self.filter(record)  # from Python 3.12 on it may be another record
        if kept:
            self.emit(kept if isinstance(kept, logging.LogRecord) else record)
        return bool(kept)

    def emit(self, record: logging.LogRecord) -> None:
        place = here()
        if place is None or _EMITTING.get() or record.name.partition(".")[0] in _NOT_OURS:
            return
        token = _EMITTING.set(True)  # formatting calls code of the task's, which may log
        try:
            message = _bounded(self.format(record))
            place.reporter.sink.log(_level(record.levelno), message, record.name[:NAME_CHARACTERS])
        except Exception:  # noqa: BLE001 -- logging's own way: told on stderr, never raised
            self.handleError(record)
        finally:
            _EMITTING.reset(token)


def capture_logs(level: str) -> None:
    """Report records of every logger from `level` on; what else the root logger does with them stays as it is."""
    handler, root = ProgressHandler(level.upper()), logging.getLogger()
    for other in root.handlers:
        other.setLevel(max(other.level, root.level))
    root.setLevel(min(root.level, handler.level))
    root.addHandler(handler)


def _level(number: int) -> str:
    return next((name for least, name in _LEVELS if number >= least), "debug")


def _bounded(text: str) -> str:
    more = len(text) - RECORD_CHARACTERS
    if more <= 0:
        return text
    half = RECORD_CHARACTERS // 2
    return f"{text[:half]}\n[{more:,} characters left out]\n{text[-half:]}"
