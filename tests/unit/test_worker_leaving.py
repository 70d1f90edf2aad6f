"""How a worker is told to leave, without a process: the thread, its deadlines, what it says to the event loop."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from milepost_worker.leaving import HARD_DEADLINE_SECONDS, Leaving
from milepost_worker.main import serve
from milepost_worker.settings import WorkerSettings

from tests.support.cancels import LosesACancel
from tests.support.wait import eventually, eventually_sync

pytestmark = pytest.mark.anyio


class Ends:
    """The exit codes a process would have ended with."""

    def __init__(self) -> None:
        self.codes: list[int] = []
        self.ended = threading.Event()

    def __call__(self, code: int) -> None:
        self.codes.append(code)
        self.ended.set()


@pytest.fixture
def ends() -> Ends:
    return Ends()


@pytest.fixture
def leaving(ends: Ends) -> Iterator[Callable[..., Leaving]]:
    started: list[Leaving] = []

    def start(**given: float) -> Leaving:
        options: Any = {"drain_seconds": 3600.0, "stop_grace_seconds": 3600.0} | given
        one = Leaving(**options, end_process=ends)
        started.append(one)
        one.start()
        return one

    yield start
    for one in started:
        one.close()
        one.join()


async def test_every_signal_is_told_to_the_event_loop(leaving: Callable[..., Leaving]) -> None:
    """Those that came before anybody listened as well, of which the first two count."""
    thread, told = leaving(), list[int]()
    for _ in range(5):
        thread.signalled()
    await eventually(lambda: thread._signals == 5, "the thread has heard them")
    thread.tell(lambda: told.append(1))
    assert len(told) == 2
    thread.signalled()
    await eventually(lambda: len(told) == 3, "the loop is told")


async def test_a_look_for_redis_that_loses_the_cancel_does_not_keep_the_worker(
    leaving: Callable[..., Leaving], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a command of redis-py does before Python 3.12: the worker leaves at the first signal all the same."""
    redis_answers = LosesACancel()
    monkeypatch.setattr("milepost_worker.starting.redis_answers", redis_answers)
    thread = leaving()
    serving = asyncio.create_task(serve(WorkerSettings(), {}, (), thread))
    await redis_answers.begun.wait()
    thread.signalled()
    await asyncio.wait_for(serving, 30)
    assert redis_answers.lost


def test_a_refused_worker_ends_with_its_code(
    leaving: Callable[..., Leaving], ends: Ends, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever threads its modules have started."""
    monkeypatch.setattr("milepost_worker.leaving.LEFTOVER_SECONDS", 0.0)
    leaving().done(2)
    assert ends.ended.wait(60)
    assert ends.codes == [2]


def test_a_process_that_stays_too_long_is_ended_after_a_last_resort(
    leaving: Callable[..., Leaving], ends: Ends
) -> None:
    """With 1, and only once its jobs could be handed back."""
    thread = leaving(drain_seconds=-HARD_DEADLINE_SECONDS, stop_grace_seconds=0.0)
    order: list[str] = []
    thread.last_resort = lambda: order.append(f"resort {ends.codes}")
    thread.signalled()
    assert ends.ended.wait(60)
    assert (order, ends.codes) == (["resort []"], [1])


def test_a_second_signal_brings_the_end_forward(leaving: Callable[..., Leaving], ends: Ends) -> None:
    """No more time to drain, only to stop."""
    thread = leaving(stop_grace_seconds=-HARD_DEADLINE_SECONDS)
    thread.signalled()
    eventually_sync(lambda: thread._signals == 1, "it is heard")
    assert ends.codes == []
    thread.signalled()
    assert ends.ended.wait(60)
    assert ends.codes == [1]


async def test_without_a_signal_there_is_no_deadline(leaving: Callable[..., Leaving], ends: Ends) -> None:
    """However short the times are."""
    thread = leaving(drain_seconds=-3600.0, stop_grace_seconds=-3600.0)
    await asyncio.sleep(0)
    thread.close()
    await asyncio.to_thread(thread.join)
    assert ends.codes == []


def test_after_the_work_only_leftovers_are_waited_for(
    leaving: Callable[..., Leaving], ends: Ends, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A forgotten thread makes no failure of a worker that has reported everything."""
    monkeypatch.setattr("milepost_worker.leaving.LEFTOVER_SECONDS", 0.0)
    thread = leaving()
    thread.last_resort = lambda: pytest.fail("there is nothing to hand back")
    thread.done()
    assert ends.ended.wait(60)
    assert ends.codes == [0]
