"""`progress` as a task's author meets it."""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Any

import pytest

from milepost import progress
from milepost.errors import BadReport
from milepost.reporting import HERE, Place, Reporter, Stopped
from milepost.reporting.reporter import CHECKPOINT_BYTES


class Sink:
    def __init__(self) -> None:
        self.logs: list[tuple[str, str]] = []
        self.outputs: list[Any] = []
        self.checkpoints: list[str] = []

    def changed(self) -> None: ...
    def milestone(self) -> None: ...

    def log(self, level: str, message: str, source: str | None) -> None:
        self.logs.append((level, message))

    def output(self, data: Any) -> None:
        self.outputs.append(data)

    def checkpoint(self, value: str) -> None:
        self.checkpoints.append(value)


@pytest.fixture
def reporter() -> Reporter:
    return Reporter(Sink())


def counted(reporter: Reporter) -> tuple[float | None, float | None]:
    shown = reporter.meter.read(0)
    return shown.current, shown.total


async def some(n: int) -> AsyncIterator[int]:
    for i in range(n):
        yield i


async def test_outside_a_job_every_call_does_nothing() -> None:
    """A task's function can be called in a test, a shell or another program as it is."""
    progress(1, 2, "three", unit="four", fraction=0.5)
    progress.advance()
    with progress.step("step", weight=2):
        progress.plan({"a": 1})
    progress.log("hello", "no such level")
    progress.output({"a": 1})
    progress.raise_if_cancelled()
    progress.checkpoint({"a": 1})
    assert progress.last_checkpoint is None
    assert progress.cancelled is False
    assert list(progress.track([1, 2])) == [1, 2]
    assert [one async for one in progress.track(some(2))] == [0, 1]


def test_what_is_left_out_stays(here: Reporter) -> None:
    """A count without its total does not forget the total."""
    progress(1, 10, "one", unit="rows")
    progress(2)
    shown = here.meter.read(0)
    assert (shown.current, shown.total, shown.message, shown.unit) == (2, 10, "one", "rows")


def test_advance_counts_from_nothing(here: Reporter) -> None:
    """The first advance makes it one."""
    progress.advance()
    progress.advance(2)
    assert counted(here) == (3, None)


def test_track_counts_what_is_finished(here: Reporter) -> None:
    """While the first item is worked on, none is finished; the total is the length."""
    seen = [counted(here) for _ in progress.track(["a", "b"])]
    assert seen == [(0, 2), (1, 2)]
    assert counted(here) == (2, 2)


def test_track_of_a_generator_has_no_total_unless_given(here: Reporter) -> None:
    """Nobody knows how long a generator is."""
    assert list(progress.track(iter("ab"))) == ["a", "b"]
    assert counted(here) == (2, None)
    assert list(progress.track(iter("ab"), total=5)) == ["a", "b"]
    assert counted(here) == (2, 5)


async def test_track_takes_async_iterables(here_too: Reporter) -> None:
    """The same, with `async for`."""
    assert [counted(here_too) async for _ in progress.track(some(2), total=2)] == [(0, 2), (1, 2)]
    assert counted(here_too) == (2, 2)


def helper() -> None:
    progress(1, message="from a helper")


def test_nested_calls_find_their_job(here: Reporter) -> None:
    """Nothing is handed down."""
    helper()
    assert here.meter.read(0).message == "from a helper"


def test_reports_inside_a_step_belong_to_it(here: Reporter) -> None:
    """And after it, to the one outside again."""
    progress(5, 10)
    with progress.step("inner"):
        progress(1, 2)
        assert counted(here) == (1, 2)
    progress()
    assert counted(here) == (5, 10)


async def test_tasks_that_run_at_once_have_steps_of_their_own(here_too: Reporter) -> None:
    """Two gathered tasks cannot write into each other's step."""
    both = asyncio.Barrier(2)

    async def part(name: str, n: int) -> None:
        with progress.step(name):
            await both.wait()
            progress(n, 10)
            await both.wait()

    await asyncio.gather(part("a", 1), part("b", 2))
    assert {child.key: child.current for child in here_too.meter.root.children} == {"a": 1, "b": 2}


async def test_threads_of_a_task_find_its_job_and_step(here_too: Reporter) -> None:
    """`asyncio.to_thread` copies the context."""
    with progress.step("in a thread"):
        await asyncio.to_thread(progress, 3, 4)
    assert here_too.meter.root.children[0].current == 3


def test_other_threads_are_outside(here: Reporter) -> None:
    """A plain thread has a context of its own: its calls do nothing, and harm nobody."""
    thread = threading.Thread(target=contextvars.Context().run, args=(progress, 1, 2, "stray"))
    thread.start()
    thread.join()
    assert here.meter.read(0).message is None


async def test_a_job_is_not_seen_from_outside(reporter: Reporter) -> None:
    """What a task sets in its context ends with it."""

    async def job() -> None:
        HERE.set(Place(reporter))
        progress(1)

    await asyncio.create_task(job())
    progress(2)
    assert HERE.get() is None
    assert counted(reporter) == (1, None)


async def test_a_step_of_an_abandoned_async_generator_is_closed_without_a_fuss(here_too: Reporter) -> None:
    """The generator may be closed in another context than the one in which it began."""

    async def rows() -> AsyncGenerator[int, None]:
        with progress.step("rows"):
            yield 1

    started = rows()

    async def begin() -> None:
        await anext(started)

    await asyncio.create_task(begin())
    await started.aclose()
    assert HERE.get() is not None
    assert here_too.meter.root.children[0].failed


def test_cancelled_is_seen_and_raised(here: Reporter) -> None:
    """A task may look, ask, or simply go on reporting."""
    assert bool(progress.cancelled) is False
    progress.raise_if_cancelled()
    here.stop = "timeout"
    assert bool(progress.cancelled) is True
    for report in (progress.raise_if_cancelled, progress, progress.advance, lambda: progress.log("x")):
        with pytest.raises(Stopped, match="timeout"):
            report()


def test_output_must_be_json_in_a_job_and_outside() -> None:
    """What fails in production fails in the author's own test as well."""
    for wrong in (float("nan"), {1, 2}, object(), {"a": [float("inf")]}):
        for say in (progress.output, progress.checkpoint):
            with pytest.raises(BadReport, match="cannot be sent as JSON"):
                say(wrong)


def test_a_checkpoint_is_what_the_next_attempt_would_be_given(here: Reporter) -> None:
    """As JSON makes it, as it was when it was said, and whatever is done with what was read."""
    place = {"row": 1, "seen": (1, 2)}
    progress.checkpoint(place)
    place["row"] = 99
    assert progress.last_checkpoint == {"row": 1, "seen": [1, 2]}
    progress.last_checkpoint["row"] = 98
    assert progress.last_checkpoint == {"row": 1, "seen": [1, 2]}
    progress.checkpoint(None)
    assert progress.last_checkpoint is None


def test_the_last_attempts_checkpoint_is_there_from_the_start() -> None:
    """Until this attempt says its own."""
    token = HERE.set(Place(Reporter(Sink(), checkpoint='{"row": 7}')))
    assert progress.last_checkpoint == {"row": 7}
    progress.checkpoint(8)
    assert progress.last_checkpoint == 8
    HERE.reset(token)


def test_a_checkpoint_that_is_too_long_is_refused_in_a_job_and_outside(here: Reporter) -> None:
    """With a sentence, and the one before it stays."""
    progress.checkpoint("fine")
    token = HERE.set(None)
    with pytest.raises(BadReport, match="262,144 are the most"):
        progress.checkpoint("x" * CHECKPOINT_BYTES)
    HERE.reset(token)
    with pytest.raises(BadReport, match="checkpoint where it is"):
        progress.checkpoint("x" * CHECKPOINT_BYTES)
    assert progress.last_checkpoint == "fine"


def test_a_stopped_task_can_still_say_where_it_stood(here: Reporter) -> None:
    """The checkpoint is taken, and the task told to stop all the same."""
    here.stop = "released"
    with pytest.raises(Stopped):
        progress.checkpoint(3)
    assert progress.last_checkpoint == 3
    assert isinstance(here.sink, Sink)
    assert here.sink.checkpoints == ["3"]


def test_log_and_output_reach_the_sink(here: Reporter) -> None:
    """In order, as they are."""
    sink = here.sink
    assert isinstance(sink, Sink)
    progress.log("hello")
    progress.log("careful", "warning")
    progress.output({"rows": 3})
    assert sink.logs == [("info", "hello"), ("warning", "careful")]
    assert sink.outputs == [{"rows": 3}]


def test_a_plan_with_a_wrong_weight_is_refused(here: Reporter) -> None:
    """In the line that is wrong, and the plan before it stays."""
    progress.plan({"a": 1})
    with pytest.raises(BadReport):
        progress.plan({"a": float("nan")})
    assert here.meter.root.plan == {"a": 1.0}
