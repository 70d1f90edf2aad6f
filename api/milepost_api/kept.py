"""What Redis said a moment ago, kept at hand. It is asked anew behind the backs of those who read it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

import structlog
from redis.exceptions import RedisError

from milepost.redis import UNREACHABLE

T = TypeVar("T")
log = structlog.get_logger()


class Kept(Generic[T]):
    """A value no older than its readers allow: one that is a little old is given at once, and renewed for the next.

    All who wait for a new one share it. It is asked for by no reader's task, which may be cancelled in the middle of
    an answer.
    """

    def __init__(
        self, ask: Callable[[], Awaitable[T]], *, clock: Callable[[], float], answer_seconds: float
    ) -> None:
        self._ask, self._clock, self._seconds = ask, clock, answer_seconds
        self._asking: asyncio.Task[T] | None = None
        self.value: T | None = None
        """The latest, whatever its age; None before the first."""
        self._asked_at = float("-inf")

    async def at_most(self, age_seconds: float, *, usable_seconds: float = 0.0) -> T:
        """Return it, renewed if it is older. One that is not older than `usable_seconds` is returned meanwhile.

        Raises what Redis raises when it is away, `TimeoutError` when it does not answer.
        """
        age = self._clock() - self._asked_at
        if self.value is not None and age <= age_seconds:
            return self.value
        asking = self._asking or self._begin()
        if self.value is not None and age <= usable_seconds:
            return self.value
        return await asyncio.shield(asking)

    def _begin(self) -> asyncio.Task[T]:
        self._asking = asyncio.create_task(self._renew(), name="kept")
        self._asking.add_done_callback(self._ended)
        return self._asking

    async def _renew(self) -> T:
        began = self._clock()
        async with asyncio.timeout(self._seconds):
            self.value = value = await self._ask()
        self._asked_at = began
        return value

    def _ended(self, task: asyncio.Task[T]) -> None:
        self._asking = None
        error = None if task.cancelled() else task.exception()
        # Whoever waited for it has heard; if nobody did, the next one asks again.
        if error is not None and not isinstance(error, (RedisError, *UNREACHABLE)):
            log.error("kept.bug", exc_info=error)
