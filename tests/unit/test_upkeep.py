"""Work in the background: a bug or an outage makes neither a half-deaf process nor a busy loop."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable

import pytest

from milepost.errors import StoreUnavailable
from milepost.upkeep import FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS, ended, kept_running

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


@pytest.mark.parametrize("error", [None, RuntimeError("bug"), StoreUnavailable(), ConnectionError()])
async def test_work_that_ends_begins_again_after_growing_pauses(error: Exception | None) -> None:
    """Neither a bug nor an outage is the end, nor is the work's own."""

    async def work() -> None:
        if error is not None:
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

    task = asyncio.create_task(kept_running("work", work))
    await began.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(task, 10)


async def test_threads_are_waited_for_no_longer_than_said() -> None:
    """One that hangs does not keep the process; one that ends is not waited for any longer."""
    hangs = threading.Event()
    thread = threading.Thread(target=hangs.wait, daemon=True)
    thread.start()
    await ended(thread, within_seconds=0.01)
    assert thread.is_alive()
    hangs.set()
    await ended(thread, within_seconds=3600)
    assert not thread.is_alive()
