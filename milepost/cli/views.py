"""Ways to show a job that is being watched: as JSON, as plain lines; the bar of a terminal is in `bar`."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from milepost.cli import wording
from milepost.cli.options import print_json
from milepost.events import (
    AnyEvent,
    Ended,
    Gap,
    Logged,
    Output,
    Progressed,
    Snapshot,
    Stalled,
    StatusChanged,
    StillWaiting,
    to_wire,
)
from milepost.job import Job

if TYPE_CHECKING:
    from milepost.client import Connection

LINE_SECONDS = 1.0
"""Without a terminal at most one line of progress in so long; everything else is shown as it comes."""


class View(Protocol):
    """Shows what it is told; `job` is the job after `event`. `close` is called once, whatever happened."""

    def event(self, event: AnyEvent, job: Job) -> None: ...
    def connection(self, connection: Connection) -> None: ...
    def close(self) -> None: ...


class JsonView:
    """One event a line, as on the wire."""

    def event(self, event: AnyEvent, job: Job) -> None:
        print_json(to_wire(event))

    def connection(self, connection: Connection) -> None:
        pass  # what comes after a reconnect is complete: a program has no use for it

    def close(self) -> None:
        pass


class QuietView:
    """Nothing: the exit code says how it ended."""

    def event(self, event: AnyEvent, job: Job) -> None:
        pass

    def connection(self, connection: Connection) -> None:
        pass

    def close(self) -> None:
        pass


class LineView:
    """A line for everything worth one, `out` for the job and `trouble` for the connection."""

    def __init__(
        self,
        out: Callable[[str], None],
        trouble: Callable[[str], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._out, self._trouble, self._clock = out, trouble, clock
        self._due = float("-inf")
        self._step: str | None = None
        self._reason: str | None = None
        self._is_open, self._is_over = True, False

    def event(self, event: AnyEvent, job: Job) -> None:
        if self._is_over:
            return  # the snapshot of a job that has ended says all that its `end` will say again
        self._is_over = job.done
        reason, self._reason = self._reason, job.waiting.reason if job.waiting else None
        if isinstance(event, Progressed):
            self._progress(event, job)
        elif isinstance(event, StillWaiting) and reason == self._reason and self._clock() < self._due:
            pass  # a step forward in the line, soon followed by another
        elif line := describe(event, job):
            self._due = self._clock() + LINE_SECONDS
            self._say(event, line)

    def connection(self, connection: Connection) -> None:
        if connection.error:
            self._trouble(f"{connection.error} Trying again; the job goes on.")
        elif not self._is_open:
            self._trouble("Connected again.")
        self._is_open = connection.is_open

    def close(self) -> None:
        pass

    def _progress(self, event: Progressed, job: Job) -> None:
        step = event.progress.step.key if event.progress.step else None
        if self._clock() < self._due and step == self._step:
            return
        self._due, self._step = self._clock() + LINE_SECONDS, step
        self._say(event, _state(job))

    def _say(self, event: AnyEvent, line: str) -> None:
        at = getattr(event, "at", "")
        self._out(f"{at[11:19]}  {line}" if at else line)


def describe(event: AnyEvent, job: Job) -> str:
    """Return one line for an event that is not progress, "" for one that needs none."""
    line = ""
    match event:
        case Snapshot() | StillWaiting() if not job.done:
            line = _state(job)
        case Snapshot() | Ended():
            line = wording.ending(job)
        case StatusChanged():
            line = wording.headline(job)
        case Logged():
            line = f"{event.level}: {wording.clean(event.message)}"
        case Output():
            line = f"output {event.index}: {wording.clean(_short(event.data))}"
        case Stalled(recovered=True):
            line = "the worker is heard again"
        case Stalled():
            line = f"the worker has been silent since {event.heartbeat_at or 'its start'}; waiting for it"
        case Gap():
            line = "some history is no longer kept; going on from the present state"
    return line


def _state(job: Job) -> str:
    progress = job.progress
    parts = (
        wording.headline(job),
        wording.percent(progress),
        wording.amount(progress),
        wording.pace(progress),
        wording.clean(progress.message or ""),
        wording.clean(job.waiting.message) if job.waiting else "",
    )
    return "  ".join(part for part in parts if part)


def _short(value: object, most: int = 200) -> str:
    from milepost.codec import dumps

    text = dumps(value)
    return text if len(text) <= most else f"{text[:most]}…"
