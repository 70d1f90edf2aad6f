"""`progress` in threads: bound functions, and counts that no thread loses."""

from __future__ import annotations

import asyncio
import contextvars
import functools
import inspect
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from milepost import progress
from milepost.reporting import HERE, ContextExecutor, Place, Reporter
from tests.support.sinks import Notes

THREADS = 8


@pytest.fixture
def busy_switching() -> Iterator[None]:
    """Threads take turns as often as the interpreter lets them."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


def elsewhere(function: Any, *args: Any) -> Any:
    """Call it in a thread that was started outside any job."""
    with ThreadPoolExecutor(1, initializer=lambda: None) as pool:
        return pool.submit(contextvars.Context().run, function, *args).result()


def test_a_bound_function_reports_to_its_job_and_step(here: Reporter) -> None:
    """From a thread of a pool that knows nothing of the job, and with what it returns."""

    def work(n: int, *, of: int) -> str:
        progress(n, of)
        return "done"

    with progress.step("in a pool"):
        bound = progress.bind(work)
    assert elsewhere(functools.partial(bound, of=4), 3) == "done"
    assert (here.meter.root.children[0].current, here.meter.root.children[0].total) == (3, 4)


def test_a_bound_function_leaves_nothing_behind_in_the_thread(here: Reporter) -> None:
    """Also when it raises: the next function of that thread is outside."""

    def fail() -> None:
        raise LookupError("not there")

    def both() -> Place | None:
        with pytest.raises(LookupError):
            bound()
        return HERE.get()

    bound = progress.bind(fail)
    assert elsewhere(both) is None
    assert elsewhere(progress.bind(HERE.get)) is not None


def test_a_bound_function_is_still_that_function() -> None:
    """Its name and its signature are those of what was bound; outside a job it is the function itself."""

    def named(a: int) -> int:
        """Say it."""
        return a

    assert progress.bind(named) is named
    token = HERE.set(Place(Reporter(Notes())))
    bound: Any = progress.bind(named)
    HERE.reset(token)
    assert (bound.__name__, bound.__doc__, bound(3)) == ("named", "Say it.", 3)
    assert "named" in repr(bound)


async def test_a_bound_coroutine_function_reports_from_another_task(here_too: Reporter) -> None:
    """A task that was started outside the job awaits it."""

    async def work() -> None:
        await asyncio.sleep(0)
        progress(7)

    bound = progress.bind(work)
    assert inspect.iscoroutinefunction(bound)
    await asyncio.create_task(bound(), context=contextvars.Context())
    assert here_too.meter.root.current == 7


def test_a_generator_function_cannot_be_bound(here: Reporter) -> None:
    """Its body would run after the call, outside the job: that is said and not hidden."""

    def rows() -> Iterator[int]:
        yield 1

    with pytest.raises(TypeError, match="Bind the function that iterates"):
        progress.bind(rows)


@pytest.mark.usefixtures("busy_switching")
def test_advancing_from_many_threads_loses_no_count(here: Reporter) -> None:
    """Eight threads count to 20,000 each, at once."""
    start = threading.Barrier(THREADS)

    def count() -> None:
        start.wait()
        for _ in range(20_000):
            progress.advance()

    with ThreadPoolExecutor(THREADS) as pool:
        for done in [pool.submit(progress.bind(count)) for _ in range(THREADS)]:
            done.result()
    assert here.meter.root.current == THREADS * 20_000


@pytest.mark.usefixtures("busy_switching")
def test_steps_begun_by_many_threads_have_keys_of_their_own(here: Reporter) -> None:
    """Eight threads begin and end steps of one name while the meter reads."""
    progress.plan({"other": 1})  # so that the steps are kept
    start = threading.Barrier(THREADS + 1)

    def work() -> None:
        start.wait()
        for n in range(10):
            with progress.step("part"):
                progress(n, 10)

    with ThreadPoolExecutor(THREADS) as pool:
        running = [pool.submit(progress.bind(work)) for _ in range(THREADS)]
        start.wait()
        while not all(one.done() for one in running):
            here.meter.read(0.0)
        for one in running:
            one.result()
    shown = here.meter.read(1.0)
    keys = [child.key for child in here.meter.root.children]
    assert len(set(keys)) == len(keys) == THREADS * 10
    assert {step.status for step in shown.steps} <= {"succeeded", "pending", "skipped"}


async def test_the_default_executor_of_a_worker_carries_the_job(here_too: Reporter) -> None:
    """`run_in_executor(None, …)` is at home in the job and step it was called in, `to_thread` still is."""
    loop = asyncio.get_running_loop()
    with ContextExecutor(2) as pool:
        with progress.step("in the pool"):
            await loop.run_in_executor(pool, progress, 3, 4)
        await loop.run_in_executor(pool, lambda: progress.advance(2))
    assert here_too.meter.root.children[0].current == 3
    assert here_too.meter.root.current == 2
