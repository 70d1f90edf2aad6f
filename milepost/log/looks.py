"""Where in the line of a queue a worker looks for jobs that it can run: at the front, and further behind by turns."""

from __future__ import annotations

import time
from collections.abc import Callable

DEPTH = 2000
"""Deliveries of a queue that one look goes through beyond the first hundred (about 5 ms of Redis's time)."""

PACE_SECONDS = 0.0001
"""A look that passed over n deliveries is not followed by another deep one before n times this: a long line of jobs
that a worker cannot run then takes a few hundredths of Redis's time, however often the worker is woken."""


class Looks:
    """Remembers, queue by queue, how far a worker has looked, and when it may look so far again."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._cursors: dict[str, int] = {}
        self._deep_from: dict[str, float] = {}

    def next(self, queue: str) -> tuple[int, int]:
        """Return from which rank to look beyond the front, and how far."""
        deep = self._clock() >= self._deep_from.get(queue, 0.0)
        return self._cursors.get(queue, 0), DEPTH if deep else 0

    def looked(self, queue: str, cursor: int, passed: int) -> float | None:
        """Take note of a look that ended at `cursor` (-1: at the end of what is due) having passed over so many.

        Returns the seconds until the rest may be looked through, None if there is none.
        """
        now = self._clock()
        self._cursors[queue] = max(0, cursor)
        if now >= self._deep_from.get(queue, 0.0):
            self._deep_from[queue] = now + passed * PACE_SECONDS
        return None if cursor < 0 else max(0.0, self._deep_from[queue] - now)
