"""Whether silence can be held against a worker."""

from __future__ import annotations

import time
from collections.abc import Callable

LULL_SECONDS = 3.0  # answers are a second apart: in a longer gap Redis, the network or this host stood still


class Patience:
    """While Redis was away nobody could renew a lease. When it is back, every worker gets one whole lease to be

    heard again before any is taken away: a pause of Redis costs no attempts.
    """

    def __init__(self, lease_seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._lease, self._clock = lease_seconds, clock
        self._heard_at: float | None = None
        self._wait_until = clock()

    def began(self, uptime_seconds: float) -> None:
        """Redis is reached (again), and has been up for so long."""
        self._wait(self._lease - uptime_seconds)

    def heard(self) -> None:
        """Redis has just answered."""
        now = self._clock()
        if self._heard_at is not None and now - self._heard_at > LULL_SECONDS:
            self._wait(self._lease)
        self._heard_at = now

    @property
    def is_over(self) -> bool:
        return self._clock() >= self._wait_until

    def _wait(self, seconds: float) -> None:
        self._wait_until = max(self._wait_until, self._clock() + seconds)
