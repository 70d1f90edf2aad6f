"""One timer for all streams of a process, however many wait for a moment of their own."""

from __future__ import annotations

import asyncio
import math
from typing import Protocol

import structlog

log = structlog.get_logger("milepost.stream")

TICK_SECONDS = 0.25
"""Nobody is woken sooner than asked, and at most so much later."""


class Turning(Protocol):
    """What can be put on the wheel."""

    def turned(self, now: float) -> None:
        """The moment has come; `now` is the time of the loop, in seconds."""


class Wheel:
    """Wakes things at moments by the clock of the loop. To put one on it costs no timer, and it need not be taken off:

    what was not asked for any more is told all the same, and looks for itself.
    """

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._spokes: dict[int, set[Turning]] = {}
        self._timer: asyncio.TimerHandle | None = None

    def at(self, moment: float, what: Turning) -> None:
        """Wake `what` at `moment` (the loop's time, in seconds)."""
        self._spokes.setdefault(_spoke(moment), set()).add(what)
        if self._timer is None:
            self._timer = self._loop.call_later(TICK_SECONDS, self._turn)

    def forget(self, moment: float, what: Turning) -> None:
        """Take `what` off the place where `at` has put it."""
        if math.isfinite(moment) and (spoke := self._spokes.get(_spoke(moment))):
            spoke.discard(what)

    def close(self) -> None:
        """Wake nobody any more."""
        self._spokes.clear()
        if self._timer is not None:
            self._timer.cancel()

    def _turn(self) -> None:
        now = self._loop.time()
        for spoke in sorted(spoke for spoke in self._spokes if spoke * TICK_SECONDS <= now):
            for what in self._spokes.pop(spoke):
                try:
                    what.turned(now)
                except Exception:  # of one stream; the others have their moments too
                    log.exception("wheel.bug")
        self._timer = self._loop.call_later(TICK_SECONDS, self._turn) if self._spokes else None


def _spoke(moment: float) -> int:
    return int(moment / TICK_SECONDS) + 1
