"""When lanes write: each after its own rest, whatever becomes of the others."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, cast

import pytest
import uvloop
from milepost_api.hub import Hub
from milepost_api.streaming.lanes import REST_SHARE, Lane, Lanes

from tests.support.wait import DEADLINE_SECONDS

pytestmark = pytest.mark.anyio


class Noted(Lane):
    """A lane without streams: says that it was written, and does what it is told."""

    def __init__(self, act: Callable[[], None] = lambda: None, rests_until: float = 0.0) -> None:
        self._act, self.rests_until, self.written, self.given_up = act, rests_until, asyncio.Event(), False

    def write(self) -> int:
        self.written.set()
        self._act()
        return 1

    def give_up(self) -> None:
        self.given_up = True


def lanes() -> Lanes:
    return Lanes(cast("Hub", SimpleNamespace()), ping_seconds=15)


async def test_a_lane_does_not_wait_for_one_that_rests_longer() -> None:
    """Whoever asked first has set the timer."""
    every, now = lanes(), asyncio.get_running_loop().time()
    tired, brisk = Noted(rests_until=now + 10 * DEADLINE_SECONDS), Noted(rests_until=now + 0.02)
    every.pending(tired)
    every.pending(brisk)
    async with asyncio.timeout(DEADLINE_SECONDS):
        await brisk.written.wait()
    assert not tired.written.is_set()
    await every.close()


async def test_a_fault_in_one_lane_is_none_of_the_others() -> None:
    """What its streams have is not known any more; those of the others get theirs."""

    def break_down() -> None:
        raise RuntimeError("a fault")

    every, broken, whole = lanes(), Noted(break_down), Noted()
    every.pending(broken)
    every.pending(whole)
    async with asyncio.timeout(DEADLINE_SECONDS):
        await whole.written.wait()
    assert broken.given_up
    assert not whole.given_up
    await every.close()


def test_a_long_write_is_followed_by_a_long_rest_where_the_clock_of_the_loop_stands_still() -> None:
    """uvloop's is that of the beginning of the turn."""
    took = 0.2

    async def write() -> tuple[float, float]:
        every, lane, loop = lanes(), Noted(lambda: time.sleep(took)), asyncio.get_running_loop()
        began = loop.time()
        every.pending(lane)
        await lane.written.wait()
        await every.close()
        return began, lane.rests_until

    def run(**how: Any) -> tuple[float, float]:
        with asyncio.Runner(**how) as runner:
            return runner.run(write())

    for how in ({}, {"loop_factory": uvloop.new_event_loop}):
        began, rests_until = run(**how)
        assert rests_until >= began + took * (1 + REST_SHARE) - 0.002  # of its milliseconds
