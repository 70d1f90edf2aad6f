"""What one attempt still has to say: written by the task's threads, emptied by the courier's."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any

from milepost import times
from milepost.errors import BadReport
from milepost.log import Call, Claim, ReportCalls
from milepost.reporting import Reporter

PENDING_REPORTS = 1000
"""Logs, outputs and step changes that may wait to be sent; the next one makes the task wait."""

REPORT_SECONDS = 0.1
"""Progress of one job leaves at most so often."""

BACK_PRESSURE_SECONDS = 60.0


class Outbox:
    """The sink of one attempt. Progress is one slot (latest wins); the rest is a bounded queue, in order."""

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
        self._pending: deque[tuple[Call, Callable[[str], None] | None]] = deque()
        self._room = threading.Condition()
        self._outputs = 0

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
            self._outputs += 1
            return self.calls.output(self._outputs - 1, data)

        self._put(call)

    def close(self, make: Callable[[ReportCalls], Call], sent: Callable[[str], None]) -> None:
        """Queue the attempt's last report; `sent` is told Redis's answer. Nothing is accepted after it."""
        with self._room:
            self.closed = True
            self._pending.append((make(self.calls), sent))
            self._room.notify_all()
        self._notify(self)

    # The courier's side.

    @property
    def due(self) -> float | None:
        """When there is something to send: 0 for now, None for never."""
        if self._pending:
            return 0.0
        return self.next_progress if self.reporter.dirty and not self.closed else None

    def batch(self, now: float, most: int = 100) -> list[tuple[Call, Callable[[str], None] | None]]:
        """Return what to send now, oldest first; it stays queued until `settle` says that it has arrived."""
        with self._room:
            if not self.closed and self.reporter.dirty and now >= self.next_progress:
                self.next_progress = now + REPORT_SECONDS
                self._pending.append((self.calls.progress(self._read()), None))
            return [self._pending[i] for i in range(min(most, len(self._pending)))]

    def settle(self, count: int) -> None:
        """The first `count` reports have been answered."""
        with self._room:
            for _ in range(count):
                self._pending.popleft()
            self._room.notify_all()

    def abandon(self) -> list[Callable[[str], None]]:
        """Drop everything: the attempt has lost its job. Returns who waits for an answer."""
        with self._room:
            self.closed = True
            waiting = [sent for _, sent in self._pending if sent is not None]
            self._pending.clear()
            self._room.notify_all()
        return waiting

    def _read(self) -> Any:
        self.reporter.dirty = False  # before reading: what changes meanwhile makes it dirty again
        return self.reporter.meter.read(self._clock(), times.now())

    def _put(self, make: Callable[[], Call]) -> None:
        with self._room:
            if len(self._pending) >= PENDING_REPORTS and not self._room.wait_for(
                lambda: self.closed or len(self._pending) < PENDING_REPORTS, BACK_PRESSURE_SECONDS
            ):
                raise BadReport(
                    f"{PENDING_REPORTS} reports wait to be sent and Redis has not taken any for "
                    f"{BACK_PRESSURE_SECONDS:.0f} s."
                )
            if self.closed:
                return  # a task that goes on after its end was decided talks to nobody
            self._pending.append((make(), None))
        self._notify(self)
