"""The timer wheel of streams, on a loop whose time the test turns by hand."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest
from milepost_api.streaming.wheel import TICK_SECONDS, Wheel


class HandTurned(asyncio.SelectorEventLoop):
    """A loop whose clock stands still until it is told to go on."""

    now = 1000.0

    def time(self) -> float:
        return self.now

    def go_on(self, seconds: float) -> None:
        self.now += seconds
        self.run_until_complete(asyncio.sleep(0))
        self.run_until_complete(asyncio.sleep(0))


class Told:
    """Notes when it was told."""

    def __init__(self) -> None:
        self.at: list[float] = []

    def turned(self, now: float) -> None:
        self.at.append(now)


class Broken:
    """Fails."""

    def turned(self, now: float) -> None:
        raise RuntimeError("a bug of one stream")


@pytest.fixture
def loop() -> Iterator[HandTurned]:
    loop = HandTurned()
    yield loop
    loop.close()


@pytest.fixture
def wheel(loop: HandTurned) -> Wheel:
    async def made() -> Wheel:
        return Wheel()

    return loop.run_until_complete(made())


def test_nobody_is_woken_too_soon_and_all_within_a_tick(loop: HandTurned, wheel: Wheel) -> None:
    """Moments that fall into one tick are one wake-up."""
    many = [Told() for _ in range(50)]
    for number, one in enumerate(many):
        wheel.at(1000.0 + number / 10, one)
    for _ in range(40):
        loop.go_on(TICK_SECONDS)
    for number, one in enumerate(many):
        [at] = one.at
        assert 1000.0 + number / 10 <= at <= 1000.0 + number / 10 + 2 * TICK_SECONDS


def test_who_was_forgotten_is_not_told(loop: HandTurned, wheel: Wheel) -> None:
    """A stream that has ended leaves nothing behind."""
    told = Told()
    wheel.at(1001.0, told)
    wheel.forget(1001.0, told)
    wheel.forget(float("inf"), told)
    for _ in range(10):
        loop.go_on(TICK_SECONDS)
    assert told.at == []


def test_one_that_fails_does_not_stop_the_others(loop: HandTurned, wheel: Wheel) -> None:
    """A bug that shows in one stream is logged, and every other stream has its ping."""
    told = Told()
    wheel.at(1000.5, Broken())
    wheel.at(1001.0, told)
    for _ in range(10):
        loop.go_on(TICK_SECONDS)
    assert len(told.at) == 1


def test_a_wheel_without_anybody_stands_still(loop: HandTurned, wheel: Wheel) -> None:
    """No timer runs for nothing, and one starts again with the next who comes."""
    first, second = Told(), Told()
    wheel.at(1000.5, first)
    for _ in range(10):
        loop.go_on(TICK_SECONDS)
    assert not loop._scheduled  # type: ignore[attr-defined]
    wheel.at(1003.0, second)
    for _ in range(10):
        loop.go_on(TICK_SECONDS)
    assert (len(first.at), len(second.at)) == (1, 1)
