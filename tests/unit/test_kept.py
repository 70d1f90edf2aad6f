"""What is kept of what Redis said: given at once while it is usable, asked for once for all who need it."""

from __future__ import annotations

import asyncio

import pytest
from milepost_api.kept import Kept

pytestmark = pytest.mark.anyio


class Source:
    """Answers when the test lets it; counts how often it was asked."""

    def __init__(self) -> None:
        self.asked, self.now = 0, 100.0
        self.answer: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self.kept = Kept(self._ask, clock=lambda: self.now, answer_seconds=60)

    async def _ask(self) -> int:
        self.asked += 1
        answer = self.answer
        try:
            return await asyncio.shield(answer)
        finally:
            if self.answer is answer:
                self.answer = asyncio.get_running_loop().create_future()


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_what_is_fresh_is_not_asked_for_again() -> None:
    """Nor is it asked for by each of those who come for the first time together."""
    source = Source()
    source.answer.set_result(1)
    assert await asyncio.gather(*(source.kept.at_most(1) for _ in range(10))) == [1] * 10
    source.now += 1
    assert await source.kept.at_most(1) == 1
    assert source.asked == 1


async def test_what_is_a_little_old_is_given_and_renewed_for_the_next() -> None:
    """Who asks does not wait; what is too old to be used is waited for."""
    source = Source()
    source.answer.set_result(1)
    await source.kept.at_most(1)
    source.now += 2
    assert await source.kept.at_most(1, usable_seconds=3) == 1
    await settle()
    source.answer.set_result(2)
    await settle()
    assert await source.kept.at_most(1) == 2
    source.now += 4
    waits = asyncio.create_task(source.kept.at_most(1, usable_seconds=3))
    await settle()
    assert not waits.done()
    source.answer.set_result(3)
    assert await waits == 3


async def test_who_gives_up_takes_nothing_from_the_others() -> None:
    """A request that is cancelled in the middle leaves the answer to those who wait with it."""
    source = Source()
    first, second = (asyncio.create_task(source.kept.at_most(1)) for _ in range(2))
    await settle()
    first.cancel()
    await settle()
    source.answer.set_result(1)
    assert await second == 1
    assert source.asked == 1


async def test_a_failure_is_told_to_those_who_waited_and_is_not_kept() -> None:
    """The next one asks again; what was known before is still there for those who may use it."""
    source = Source()
    source.answer.set_result(1)
    await source.kept.at_most(1)
    source.now += 5
    source.answer.set_exception(ConnectionError("away"))
    with pytest.raises(ConnectionError):
        await source.kept.at_most(1)
    assert source.kept.value == 1
    source.answer.set_result(2)
    assert await source.kept.at_most(1) == 2


async def test_an_answer_that_does_not_come_is_not_waited_for_for_ever() -> None:
    """A Redis that is frozen keeps connections open and says nothing."""

    async def never() -> int:
        never: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        return await never

    kept = Kept(never, clock=lambda: 0.0, answer_seconds=0)
    with pytest.raises(TimeoutError):
        await kept.at_most(1)
