"""A house at work: 50 jobs of all sorts that come all the time, and 50 readers, while something goes wrong."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import Any

from tests.faults.readers import Submitted, by_client, by_line, by_polling, in_pieces, late
from tests.faults.rounds import SUCCEEDS, Round

JOBS = 50
AT_ONCE = 6  # submissions; the others wait their turn, so that they come for as long as the fault lasts
PACE_SECONDS = 0.15  # between two submissions of one hand
MOST = 90  # so many if what happens takes longer; then they come more slowly
SLOW_SECONDS = 0.5

READERS = (by_client, by_client, by_line, in_pieces, late)
POLLED = 10  # every fifth job has a poller, too


class Load:
    """Jobs in the order in which they are submitted; `spared`: what happens here may cost no attempt."""

    def __init__(
        self, r: Round, *, allowed: Iterable[str] = SUCCEEDS, spared: bool = True, watched: bool = True
    ) -> None:
        self._r, self._allowed, self._spared = r, frozenset(allowed), spared
        self._readers = READERS if watched else (late,)
        self._left = list(range(JOBS))
        self.over = False

    async def hand(self) -> None:
        """Submit one job after the other while there are any."""
        while self._left:
            await self._submit(self._left.pop(0))
            await asyncio.sleep(PACE_SECONDS)

    async def go_on(self) -> None:
        """Submit more jobs while it is not over."""
        await self.hand()
        for number in range(JOBS, MOST):
            if self.over:
                return
            await self._submit(number)
            await asyncio.sleep(SLOW_SECONDS)

    async def _submit(self, number: int) -> Submitted:
        given: dict[str, Any] = {"allowed": self._allowed, "spared": self._spared}
        given |= {"reader": self._readers[number % len(self._readers)]}
        job = await self._r.submit(*self._task(number, given), **given)
        if self._readers is READERS and number % (JOBS // POLLED) == 0:
            self._r.follow(job, by_polling)
        return job

    def _task(self, number: int, given: dict[str, Any]) -> tuple[str]:
        """Return the task of that job, and add its params and options."""
        chance = self._r.chance
        if number % 25 == 24:
            given |= {"seconds": 0.3, "options": {"queue": "apart"}}
            return ("f.process",)
        if number % 10 == 9:
            given |= {"after": round(chance.uniform(0.1, 0.5), 2), "times": 1, "spared": False}
            return ("f.again",)
        given["seconds"] = round(chance.uniform(0.05, 0.4) if number % 10 else chance.uniform(1.0, 2.5), 2)
        if number % 10 == 7:
            given["options"] = {"delay_seconds": round(chance.uniform(0.2, 1.5), 2)}
        if number % 10 == 3:
            given["options"] = {"queue": "wired"}
        return (chance.choice(["f.work", "f.thread", "f.steps"]),)


@asynccontextmanager
async def at_work(
    r: Round, *, allowed: Iterable[str] = SUCCEEDS, spared: bool = True, watched: bool = True
) -> AsyncIterator[None]:
    """Keep jobs coming while the block hurts the house. Afterwards all have been accepted.

    Not `watched`: readers come when their job runs. One that comes before brings a job to Redis by asking for it.
    """
    load = Load(r, allowed=allowed, spared=spared, watched=watched)
    async with asyncio.TaskGroup() as group:
        for _ in range(AT_ONCE - 1):
            group.create_task(load.hand())
        group.create_task(load.go_on())
        await r.until(lambda: any(job.id for job in r.jobs), "the first job is accepted")
        yield
        load.over = True
