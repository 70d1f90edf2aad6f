"""What one attempt still has to say: written by the task's threads, emptied by the courier's."""

from __future__ import annotations

import itertools
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any

from milepost import times
from milepost.errors import StoreUnavailable
from milepost.log import Call, Claim, ReportCalls
from milepost.reporting import Reporter

PENDING_REPORTS = 1000
"""Logs, outputs and step changes that may wait to be sent; the next one makes the task wait."""

REPORT_SECONDS = 0.1
"""Progress of one job leaves at most so often."""

PENDING_BYTES = 32 << 20
"""The same for their size; a single report may be larger."""

BACK_PRESSURE_SECONDS = 60.0

Answer = Callable[[str], None]
Report = tuple[Call, Answer | None]


class Outbox:
    """The sink of one attempt.

    Progress is one slot (latest wins), and so is the checkpoint; the rest is a bounded queue, in order.
    """

    def __init__(
        self,
        claim: Claim,
        calls: ReportCalls,
        notify: Callable[[Outbox], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.claim, self.calls = claim, calls
        self.on_stop: Callable[[str], None] = lambda reason: None
        """Told `cancelled` or `lost` when Redis says so, from the courier's thread."""
        self.reporter: Reporter  # set by the attempt, which needs this sink to make it
        self.next_progress = self.next_heartbeat = 0.0
        self.closed = False
        self._notify, self._clock = notify, clock
        self._pending: deque[Report] = deque()
        self._bytes = 0
        self._room = threading.Condition()
        self._outputs = 0
        self._checkpoint: str | None = None  # what has not been queued yet

    # The sink, called by the task.

    def changed(self) -> None:
        self._notify(self)

    def milestone(self) -> None:
        self._put(lambda: self.calls.progress(self._read()))
        self.next_progress = self._clock() + REPORT_SECONDS

    def log(self, level: str, message: str, source: str | None) -> None:
        self._put(lambda: self.calls.log(level, message, source))

    def output(self, data: Any) -> None:
        def call() -> Call:
            made = self.calls.output(self._outputs, data)
            self._outputs += 1  # only now: an output that is refused leaves no hole
            return made

        self._put(call)

    def checkpoint(self, value: str) -> None:
        with self._room:
            first = self._checkpoint is None
            self._checkpoint = value
        if first:
            self._notify(self)

    def close(
        self, make: Callable[[ReportCalls], Call], sent: Answer, *, tells_progress: bool = False
    ) -> None:
        """Queue the attempt's last report; `sent` is told Redis's answer. Nothing is accepted after it.

        What was not sent yet goes before it: a retry or a release hands the checkpoint on, and shows how far the
        attempt has come, where the report itself does not (`tells_progress`).
        """
        with self._room:
            self.closed = True
            if tells_progress:
                self.reporter.dirty = False
            self._append_latest(self._clock())
            self._append(make(self.calls), sent)
            self._room.notify_all()
        self._notify(self)

    # The courier's side.

    @property
    def due(self) -> float | None:
        """When there is something to send: 0 for now, None for never."""
        if self._pending:
            return 0.0
        waits = self.reporter.dirty or self._checkpoint is not None
        return self.next_progress if waits and not self.closed else None

    def batch(self, now: float, most: int = 100) -> list[Report]:
        """Return what to send now, oldest first; it stays queued until `settle` says that it has arrived."""
        with self._room:
            if not self.closed and now >= self.next_progress:
                self._append_latest(now)
            return list(itertools.islice(self._pending, most))

    def settle(self, report: Report) -> None:
        """This report, the oldest, has been answered. Nothing happens if it was abandoned in the meantime."""
        with self._room:
            if self._pending and self._pending[0] is report:
                self._pending.popleft()
                self._bytes -= size_of(report[0])
                self._room.notify_all()

    def abandon(self) -> list[Answer]:
        """Drop everything: the attempt has lost its job. Returns who waits for an answer."""
        with self._room:
            self.closed = True
            waiting = [sent for _, sent in self._pending if sent is not None]
            self._pending.clear()
            self._bytes = 0
            self._room.notify_all()
        return waiting

    def _append_latest(self, now: float) -> None:
        if self.reporter.dirty:
            self.next_progress = now + REPORT_SECONDS
            self._append(self.calls.progress(self._read()), None)
        if self._checkpoint is not None:
            self.next_progress = now + REPORT_SECONDS
        self._append_checkpoint()

    def _append_checkpoint(self) -> None:
        if self._checkpoint is not None:
            self._append(self.calls.checkpoint(self._checkpoint), None)
            self._checkpoint = None

    def _read(self) -> Any:
        self.reporter.dirty = False  # before reading: what changes meanwhile makes it dirty again
        return self.reporter.meter.read(self._clock(), times.now())

    def _append(self, call: Call, answer: Answer | None) -> None:
        self._pending.append((call, answer))
        self._bytes += size_of(call)

    def _has_room(self) -> bool:
        return len(self._pending) < PENDING_REPORTS and self._bytes < PENDING_BYTES

    def _put(self, make: Callable[[], Call]) -> None:
        with self._room:
            if not self._room.wait_for(lambda: self.closed or self._has_room(), BACK_PRESSURE_SECONDS):
                raise StoreUnavailable(
                    f"{len(self._pending):,} reports of this job wait to be sent, and Redis has not taken any "
                    f"for {BACK_PRESSURE_SECONDS:.0f} s."
                )
            if self.closed:
                return  # a task that goes on after its end was decided talks to nobody
            self._append(make(), None)
        self._notify(self)


def size_of(call: Call) -> int:
    """Return about how many bytes a call takes on its way."""
    return sum(len(arg) for arg in call.args if isinstance(arg, str))
