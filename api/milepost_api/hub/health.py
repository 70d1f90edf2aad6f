"""Whether this process hears what happens, and since when it does not."""

from __future__ import annotations

import asyncio
from collections.abc import Callable


class Health:
    """`degraded` when Redis has not been heard for `patience_seconds`: streams then lag, and say so.

    A connection that is replaced at once is not worth a word. `changed` is called whenever `degraded` has changed.
    """

    def __init__(self, patience_seconds: float, changed: Callable[[], None]) -> None:
        self._patience, self._changed = patience_seconds, changed
        self._timer: asyncio.TimerHandle | None = None
        self._heard_at = 0.0
        self.degraded = False

    @property
    def silent_seconds(self) -> float:
        """For how long Redis has not been heard, of which the first few seconds are the usual."""
        return asyncio.get_running_loop().time() - self._heard_at

    def heard(self) -> None:
        """Take it that what Redis publishes now arrives here. To be called once before the first time, too."""
        loop = asyncio.get_running_loop()
        self.close()
        self._heard_at = loop.time()
        self._timer = loop.call_later(self._patience, self._turn, True)
        self._turn(False)

    def close(self) -> None:
        if self._timer:
            self._timer.cancel()

    def _turn(self, degraded: bool) -> None:
        if degraded != self.degraded:
            self.degraded = degraded
            self._changed()
