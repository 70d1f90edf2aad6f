"""Tasks in the background end when they are told to."""

from __future__ import annotations

import asyncio
from contextlib import suppress

import pytest

from milepost.background import end, together
from tests.support.cancels import LosesACancel


async def test_a_task_that_loses_a_cancel_is_told_again() -> None:
    """As asyncio.wait_for does before Python 3.12, when what it waits for is done at the same moment."""
    work = LosesACancel()
    task = asyncio.create_task(work())
    await asyncio.sleep(0)
    await end(task)
    assert work.lost
    assert task.cancelled()


async def test_a_part_that_loses_a_cancel_does_not_hold_the_others() -> None:
    """A task that does several things at once ends as one that does a single one."""
    loses, ends = LosesACancel(), asyncio.Event()

    async def obeys() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ends.set()

    task = asyncio.create_task(together(obeys(), loses()))
    await loses.begun.wait()
    await asyncio.wait_for(end(task), 30)
    assert loses.lost
    assert ends.is_set()
    assert task.cancelled()


async def test_a_part_that_fails_ends_the_others_and_is_heard() -> None:
    """With its own error."""
    ends = asyncio.Event()

    async def fails() -> None:
        raise ValueError("a bug")

    async def obeys() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ends.set()

    with pytest.raises(ValueError, match="a bug"):
        await together(obeys(), fails())
    assert ends.is_set()


async def test_tasks_that_have_ended_or_fail_meanwhile_are_fine() -> None:
    """Their errors are for who looks at them, not for who ends them."""

    async def fails() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            raise ValueError("while ending")

    async def returns() -> int:
        return 1

    failing, returning = asyncio.create_task(fails()), asyncio.create_task(returns())
    assert await returning == 1
    await end(failing, returning)
    assert isinstance(failing.exception(), ValueError)
    await end()


async def test_whoever_is_cancelled_while_it_ends_tasks_still_waits_for_them() -> None:
    """What is closed after them must not be used by them any more, however often somebody says: hurry."""
    may_end, waits = asyncio.Event(), asyncio.Event()

    async def slow() -> None:
        while not may_end.is_set():
            with suppress(asyncio.CancelledError):
                waits.set()
                await may_end.wait()

    task = asyncio.create_task(slow())
    await waits.wait()
    ending = asyncio.create_task(end(task))
    for _ in range(3):
        await asyncio.sleep(0)
        ending.cancel()
    await asyncio.sleep(0)
    waited = not ending.done()
    may_end.set()
    await asyncio.wait({ending, task})

    assert waited
    assert ending.cancelled()
