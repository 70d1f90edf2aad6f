"""Whether silence can be held against a worker."""

from __future__ import annotations

import time
from collections.abc import Callable

LULL_SECONDS = 3.0
"""In a longer gap between answers Redis, the network or this host stood still."""


class Patience:
    """While Redis stood still nobody could renew a lease. When it goes on, every worker gets one whole lease to be

    heard again before any is taken away: a pause of Redis costs no attempts. That it was restarted, it knows by itself
    (`milepost/log/generation.py`).
    """

    def __init__(self, lease_seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._lease, self._clock = lease_seconds, clock
        # A lease that was renewed a quarter of itself ago outlives a gap of half of it.
        self._lull = min(LULL_SECONDS, lease_seconds / 2)
        self._heard_at = self._wait_until = clock()

    @property
    def look_seconds(self) -> float:
        """How long to wait at most between two answers: a second, or less where that would be a gap already."""
        return min(1.0, self._lull / 2)

    def heard(self) -> None:
        """Redis has just answered."""
        now = self._clock()
        if now - self._heard_at > self._lull:
            self._wait_until = now + self._lease
        self._heard_at = now

    @property
    def is_over(self) -> bool:
        return self._clock() >= self._wait_until
