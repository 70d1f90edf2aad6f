"""How long to wait before the next try."""

from __future__ import annotations

import random
from collections.abc import Callable

LONGEST_RETRY_AFTER_SECONDS = 300.0
"""What a server may ask for is honoured up to here."""


class Backoff:
    """Full jitter: a random time below a limit that doubles with every failure, up to `cap_seconds`.

    A thousand clients that lost the same server then come back spread over the time, not all at once
    (https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/).
    `base_seconds` may be set at any time: the server says in `retry:` what it would like.
    """

    def __init__(
        self,
        *,
        base_seconds: float = 0.5,
        cap_seconds: float = 30.0,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self.base_seconds, self.cap_seconds = base_seconds, cap_seconds
        self._chance, self._failures = chance, 0

    def next_seconds(self, asked_seconds: float | None = None) -> float:
        """Return the wait after one more failure; not less than what the server asked for (Retry-After)."""
        limit = min(self.cap_seconds, self.base_seconds * 2.0 ** min(self._failures, 32))
        self._failures += 1
        jitter = self._chance() * limit
        return jitter if asked_seconds is None else min(asked_seconds, LONGEST_RETRY_AFTER_SECONDS) + jitter

    def reset(self) -> None:
        """Begin again with short waits: something was heard."""
        self._failures = 0
