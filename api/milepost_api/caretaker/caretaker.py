"""Takes the turn, and does the chores while it has it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import Protocol

import structlog
from redis.asyncio import Redis
from redis.exceptions import RedisError

from milepost.background import end
from milepost.log.housekeeping import Turn
from milepost.redis import UNREACHABLE
from milepost.upkeep import kept_running
from milepost_api.caretaker.patience import Patience

TURN_SECONDS = 5.0  # a dead caretaker is replaced after so long
GOODBYE_SECONDS = 1.0
log = structlog.get_logger()


class Chore(Protocol):
    """Something to do again and again. It can be interrupted anywhere: the next round, here or in another process,

    does what is left.
    """

    name: str
    every_seconds: float

    async def round(self) -> None:
        """Do it once. May raise what Redis and the database raise."""


class Caretaker:
    """One of them acts at a time. Should two for a moment, nothing breaks: what they do is checked where it is done."""

    def __init__(
        self,
        redis: Redis,
        chores: Sequence[Chore],
        patience: Patience,
        *,
        turn_seconds: float = TURN_SECONDS,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._redis, self._chores, self._patience, self._sleep = redis, chores, patience, sleep
        self._turn = Turn(redis, seconds=turn_seconds)
        self._working: list[asyncio.Task[None]] = []

    @property
    def acts(self) -> bool:
        """Whether this process has the turn."""
        return bool(self._working)

    async def run(self) -> None:
        """Look every second or so, for ever. Raises what Redis raises when it is away; begin again then."""
        try:
            while True:
                await self.look()
                await self._sleep(self._patience.look_seconds)
        except asyncio.CancelledError:
            await self._rest()  # first: who has no turn does no chores
            await self._goodbye()
            raise
        finally:
            await self._rest()

    async def look(self) -> None:
        """Take the turn or keep it, if it can be had; begin or end the chores accordingly."""
        mine = await self._turn.take_or_keep()
        self._patience.heard()
        if mine and not self._working:
            log.info("caretaker.acts", chores=[chore.name for chore in self._chores])
            self._working = [self._begun(chore) for chore in self._chores]
        elif not mine and self._working:
            log.warning("caretaker.lost_its_turn")
            await self._rest()

    async def _goodbye(self) -> None:
        """This process is leaving, and the next one need not wait; without Redis the turn ends by itself."""
        # In a task of its own: before Python 3.11.3 a task that is being cancelled cannot use redis-py.
        giving_up = asyncio.create_task(self._turn.give_up())
        try:
            await asyncio.wait({giving_up}, timeout=GOODBYE_SECONDS)
        finally:
            # Also when we are told to hurry: left alone, it would use the client after it was closed.
            await end(giving_up)
            with suppress(RedisError, *UNREACHABLE, asyncio.CancelledError):
                giving_up.result()

    async def _rest(self) -> None:
        working, self._working = self._working, []
        await end(*working)

    def _begun(self, chore: Chore) -> asyncio.Task[None]:
        # Each in a task of its own, kept running: one that fails, or takes long, holds up no other.
        work = partial(self._again_and_again, chore)
        return asyncio.create_task(kept_running(chore.name, work), name=chore.name)

    async def _again_and_again(self, chore: Chore) -> None:
        while True:
            await chore.round()
            await self._sleep(chore.every_seconds)
