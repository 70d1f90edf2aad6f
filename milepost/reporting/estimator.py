"""How fast something moves, smoothed: pure, the clock comes in with every call."""

from __future__ import annotations

import math


class Estimator:
    """A rate in units per second: what moved over the time it took, both forgotten exponentially.

    On a steady task this is exact from the second observation on; after a change of pace it follows within
    a few `tau_seconds`. When nothing moves for longer than it ever did before, the waiting counts as time
    without movement, so the rate sinks instead of promising an end that does not come.
    """

    def __init__(self, tau_seconds: float = 10.0) -> None:
        self._tau = tau_seconds
        self._moved = 0.0
        self._spent = 0.0
        self._longest_wait = 0.0
        self._last: tuple[float, float] | None = None

    def observe(self, now: float, value: float) -> None:
        """Say that `value` was reached at `now` (seconds, monotonic). A fall starts all over."""
        if self._last is None or value < self._last[1]:
            self._moved = self._spent = self._longest_wait = 0.0
            self._last = (now, value)
            return
        waited, moved = now - self._last[0], value - self._last[1]
        if moved <= 0 or waited <= 0:
            return
        keep = math.exp(-waited / self._tau)
        self._moved = self._moved * keep + moved
        self._spent = self._spent * keep + waited
        self._longest_wait = max(self._longest_wait * keep, waited)
        self._last = (now, value)

    def rate(self, now: float) -> float | None:
        """Return units per second as of `now`; None before anything has moved, or long after it did."""
        if self._last is None or self._spent <= 0:
            return None
        idle = now - self._last[0]
        if idle > 6 * self._tau and idle > 3 * self._longest_wait:
            return None
        overdue = max(0.0, idle - self._longest_wait)
        rate = self._moved / (self._spent + overdue)
        return rate if math.isfinite(rate) else None
