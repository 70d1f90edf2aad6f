"""The background of a worker: a bug in it makes no half-deaf worker, and no busy loop."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from milepost_worker.upkeep import FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS, kept_running

from milepost.background import end

pytestmark = pytest.mark.anyio


class Stop(BaseException):
    """Ends the upkeep from inside a test."""


async def pauses_of(
    work: Callable[[], Awaitable[None]], rounds: int, clock: Callable[[], float]
) -> list[float]:
    pauses: list[float] = []

    async def sleep(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) == rounds:
            raise Stop

    with pytest.raises(Stop):
        await kept_running("work", work, sleep=sleep, clock=clock)
    return pauses


@pytest.mark.parametrize("error", [None, RuntimeError("a bug"), ConnectionError()])
async def test_work_that_ends_begins_again_after_growing_pauses(error: Exception | None) -> None:
    """By an error or by itself."""

    async def work() -> None:
        if error is not None:
            raise error

    pauses = await pauses_of(work, 8, lambda: 0.0)
    assert pauses[:3] == [FIRST_PAUSE_SECONDS, 2 * FIRST_PAUSE_SECONDS, 4 * FIRST_PAUSE_SECONDS]
    assert pauses[-1] == LONGEST_PAUSE_SECONDS


async def test_work_that_held_out_begins_again_soon() -> None:
    """A bug once a day is not punished for the one before."""
    now = 0.0

    async def work() -> None:
        nonlocal now
        now += LONGEST_PAUSE_SECONDS + 1
        raise RuntimeError

    assert await pauses_of(work, 3, lambda: now) == [FIRST_PAUSE_SECONDS] * 3


async def test_upkeep_ends_when_it_is_cancelled() -> None:
    """Even if the work's goodbye fails."""
    begun = asyncio.Event()

    async def work() -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            raise OSError("the connection is gone")

    upkeep = asyncio.create_task(kept_running("work", work))
    await begun.wait()
    await end(upkeep)
    assert upkeep.cancelled()
