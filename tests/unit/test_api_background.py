"""Work in the background: it begins again after a crash, ends when told, and is patient with workers."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from milepost_api.caretaker import LULL_SECONDS, Patience
from milepost_api.supervise import FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS, supervise

from milepost.errors import StoreUnavailable

pytestmark = pytest.mark.anyio


class Stop(BaseException):
    """Ends a supervision from inside a test."""


async def pauses_of(
    work: Callable[[], Awaitable[None]], rounds: int, clock: Callable[[], float]
) -> list[float]:
    pauses: list[float] = []

    async def sleep(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) == rounds:
            raise Stop

    with pytest.raises(Stop):
        await supervise("work", work, sleep=sleep, clock=clock)
    return pauses


@pytest.mark.parametrize("error", [RuntimeError("bug"), StoreUnavailable(), ConnectionError()])
async def test_work_that_ends_begins_again_after_growing_pauses(error: Exception) -> None:
    """Neither a bug nor an outage is the end, and neither makes a busy loop."""

    async def work() -> None:
        raise error

    pauses = await pauses_of(work, 8, lambda: 0.0)
    assert pauses[:3] == [FIRST_PAUSE_SECONDS, 2 * FIRST_PAUSE_SECONDS, 4 * FIRST_PAUSE_SECONDS]
    assert pauses[-1] == LONGEST_PAUSE_SECONDS


async def test_work_that_held_out_begins_again_soon() -> None:
    """A crash once a day is not punished for the one before."""
    now = 0.0

    async def work() -> None:
        nonlocal now
        now += LONGEST_PAUSE_SECONDS + 1
        raise RuntimeError

    assert await pauses_of(work, 3, lambda: now) == [FIRST_PAUSE_SECONDS] * 3


async def test_a_goodbye_that_fails_does_not_outlive_the_cancel() -> None:
    """The process leaves, also while Redis is away and the work's last words cannot be said."""
    began = asyncio.Event()

    async def work() -> None:
        try:
            began.set()
            await asyncio.Event().wait()
        finally:
            raise ConnectionError

    task = asyncio.create_task(supervise("work", work))
    await began.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(task, 10)


class Clock:
    """Stands still until it is told to go on."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_regular_answers_need_no_patience(clock: Clock) -> None:
    """A Redis that has been up for long and answers every second gives silence no excuse."""
    patience = Patience(12, clock)
    patience.began(uptime_seconds=3600)
    for _ in range(5):
        assert patience.is_over
        patience.heard()
        clock.now += 1


def test_patience_lasts_one_lease_after_a_lull(clock: Clock) -> None:
    """Nobody could be heard for a while, so everybody gets a whole lease."""
    patience = Patience(12, clock)
    patience.heard()
    clock.now += LULL_SECONDS + 0.1
    patience.heard()
    for passed, over in ((0.0, False), (11.9, False), (0.2, True)):
        clock.now += passed
        assert patience.is_over == over


def test_a_fresh_redis_is_given_the_rest_of_a_lease(clock: Clock) -> None:
    """Its workers have had as long to be heard as it has been up."""
    patience = Patience(12, clock)
    patience.began(uptime_seconds=5)
    for passed, over in ((6.9, False), (0.2, True)):
        clock.now += passed
        assert patience.is_over == over
