"""How many attempts of one task a worker may have at once, and what that means for taking from a queue."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping

DEPTH = 2000
"""Deliveries of a queue that one look goes through beyond the first hundred (about 5 ms of Redis's time)."""

PACE_SECONDS = 0.0001
"""A look that passed over n deliveries is not followed by another deep one before n times this: a long line of a task
that is at its limit then takes a few hundredths of Redis's time, however often the worker is woken."""

_FROM_THE_FRONT = "0", str(5 * DEPTH)


class Limits:
    """The limits of the tasks of one worker. `most`: task name → attempts at once. Without any it costs nothing."""

    def __init__(self, most: Mapping[str, int], clock: Callable[[], float] = time.monotonic) -> None:
        self._most, self._clock = dict(most), clock
        self._running: dict[str, str] = {}
        self._cursors: dict[str, int] = {}
        self._deep_from: dict[str, float] = {}

    @property
    def room(self) -> dict[str, int]:
        """How many more attempts of each limited task may begin now."""
        running = Counter(self._running.values())
        return {task: most - running[task] for task, most in self._most.items()}

    def started(self, delivery: str, task: str) -> None:
        """Count a delivery that was taken."""
        if task in self._most:
            self._running[delivery] = task

    def ended(self, delivery: str) -> None:
        self._running.pop(delivery, None)

    def arguments(self, queue: str) -> Iterator[str]:
        """Say to `take.lua` where to look and what to pass over."""
        if not self._most:
            yield from (*_FROM_THE_FRONT, "0")
            return
        deep = self._clock() >= self._deep_from.get(queue, 0.0)
        yield from (str(self._cursors.get(queue, 0)), str(DEPTH if deep else 0), str(len(self._most)))
        for task, room in self.room.items():
            yield from (task, str(room))

    def looked(self, queue: str, cursor: int, passed: int) -> float | None:
        """Take note of a look that ended at `cursor` (-1: at the end of what is due) having passed over so many.

        Returns the seconds until the rest may be looked through, None if there is none.
        """
        if not self._most:
            return None
        now = self._clock()
        self._cursors[queue] = max(0, cursor)
        if now >= self._deep_from.get(queue, 0.0):
            self._deep_from[queue] = now + passed * PACE_SECONDS
        return None if cursor < 0 else max(0.0, self._deep_from[queue] - now)
