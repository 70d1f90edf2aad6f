"""`milepost.testing`: a task in a test, without Redis, by the rules of a worker."""

from __future__ import annotations

import asyncio
import enum
import os
import subprocess
import sys
import tomllib
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from milepost import Retry, progress
from milepost.errors import ParamsError
from milepost.job import ErrorCode, Status
from milepost.reporting import HERE
from milepost.tasks import Options, Task
from milepost.testing import Clock, TaskRun, run_task, run_task_async
from tests.support.schemas import check_event

ROOT = Path(__file__).resolve().parents[2]


def made(function: Any, **options: Any) -> Task[..., Any]:
    """Make a task without offering it to anybody."""
    return Task(function, "test.made", Options(**options))


class Colour(enum.Enum):
    RED = "red"


def paint(day: date, colour: Colour = Colour.RED) -> dict[str, Any]:
    with progress.step("mix", weight=1):
        progress(1, 2, "half", unit="litres")
        progress.log("mixed", "warning")
    with progress.step("paint", weight=3):
        progress.output({"walls": (1, 2)})
    progress.checkpoint({"wall": 2})
    assert isinstance(day, date)
    assert colour is Colour.RED
    return {"next": day.replace(day=day.day + 1)}


async def paint_later(day: date) -> dict[str, Any]:
    await asyncio.sleep(0)
    return paint(day)


def check(run: TaskRun) -> None:
    """What holds for every run: events as on the wire, dense, folded to the job, one end at most and last."""
    for event in run.events:
        check_event(event)
    assert [event["seq"] for event in run.events] == list(range(1, len(run.events) + 1))
    assert [event["type"] for event in run.events].count("end") == run.job.done
    assert run.job.version == len(run.events)
    assert run.status == run.job.status


@pytest.mark.parametrize("function", [paint, paint_later])
def test_a_run_has_everything_that_clients_would_see(function: Any) -> None:
    """Result, events, progress, logs, outputs, the job: converted, validated, folded."""
    run = run_task(made(function), {"day": "2026-01-30"})
    check(run)
    assert (run.status, run.result, run.error, run.exception) == (
        "succeeded",
        {"next": "2026-01-31"},
        None,
        None,
    )
    assert [(log.level, log.message) for log in run.logs] == [("warning", "mixed")]
    assert run.outputs == [{"walls": [1, 2]}]
    assert run.checkpoint == {"wall": 2}
    assert (run.progress[1].current, run.progress[1].message) == (1, "half")
    assert (run.job.progress.percent, run.job.status, run.job.attempt) == (100, Status.SUCCEEDED, 1)
    assert HERE.get() is None


def test_steps_read_from_the_source_are_planned() -> None:
    """As in a worker: the overall percent is known."""

    def two() -> None:
        with progress.step("a"):
            progress(1, 2)
        with progress.step("b", weight=3):
            pass

    run = run_task(made(two))
    assert [shown.percent for shown in run.progress] == [0, 12.5, 25, 25, 99.9]


async def test_a_run_in_a_coroutine() -> None:
    """For both kinds of tasks; the sync way says what to do instead."""
    for function in (paint, paint_later):
        run = await run_task_async(made(function), {"day": "2026-01-30"})
        check(run)
        assert run.result == {"next": "2026-01-31"}
    with pytest.raises(RuntimeError, match=r"use `await run_task_async\(...\)`"):
        run_task(made(paint_later), {"day": "2026-01-30"})
    assert HERE.get() is None


def test_a_plain_function_runs_as_if_it_were_a_task() -> None:
    """Helpers that report can be tested on their own."""
    run = run_task(lambda n: list(progress.track(range(n))), {"n": 2})
    assert run.result == [0, 1]
    assert run.progress[-1].current == run.progress[-1].total == 2


def test_params_that_do_not_fit_fail_the_job_as_in_a_worker() -> None:
    """With the sentence that clients are told, and no second attempt."""
    run = run_task(made(paint, max_attempts=3), {"day": "soon", "size": 1})
    check(run)
    assert run.status == "failed"
    assert isinstance(run.exception, ParamsError)
    assert run.error is not None
    assert run.error.message.startswith("The params do not fit the task: day: ")


def test_an_error_is_told_with_its_traceback_and_frozen_percent() -> None:
    """The exception itself is there for the test to look at."""

    def fail() -> None:
        progress(3, 10)
        raise LookupError("no such row")

    run = run_task(made(fail))
    check(run)
    assert (run.status, run.job.progress.percent, str(run.exception)) == ("failed", 30, "no such row")
    assert run.error is not None
    assert (run.error.code, run.error.type, run.error.retryable) == (
        ErrorCode.EXCEPTION,
        "LookupError",
        False,
    )
    assert "in fail" in (run.error.traceback or "")
    assert "Traceback" not in str(run.events)


def test_a_retry_is_visible_with_its_delay() -> None:
    """Another attempt would follow; the last one has none after it."""

    def again() -> None:
        progress.checkpoint(progress.last_checkpoint + 1)
        raise Retry("later", after=7)

    for attempt, status, after in ((1, "retrying", 7.0), (3, "failed", None)):
        run = run_task(made(again), attempt=attempt, max_attempts=3, last_checkpoint=attempt)
        check(run)
        assert (run.status, run.retry_after, run.checkpoint) == (status, after, attempt + 1)
    first = run_task(made(again, max_attempts=2), last_checkpoint=1)
    assert first.events[-1]["run_at"] == "2000-01-01T00:00:07.000Z"


def forever() -> str:
    n = 0
    while True:
        n += 1
        progress(n, 100)


async def forever_async() -> str:
    n = 0
    while True:
        n += 1
        progress(n, 100)
        await asyncio.sleep(0)


def test_a_long_backoff_is_told_and_not_waited_for() -> None:
    """The most that the jitter allows."""
    run = run_task(made(forever, max_attempts=2, backoff=300), cancel_after=1, reason="timeout")
    assert run.retry_after == 300


@pytest.mark.parametrize("function", [forever, forever_async])
def test_a_task_is_cancelled_at_a_chosen_point(function: Any) -> None:
    """After so many reports, or at an event of one's choice; the bar stays where it was."""
    for after in (5, lambda event: event.type == "progress" and event.progress.current == 5):
        run = run_task(made(function, max_attempts=3), cancel_after=after)
        check(run)
        assert (run.status, run.job.progress.percent) == ("cancelled", 5)
        assert run.error is not None
        assert run.error.code == ErrorCode.CANCELLED


def test_a_timeout_and_a_deploy_can_be_played() -> None:
    """The one is an error, which may be retried; the other hands the job back and uses no attempt."""
    late = run_task(made(forever, timeout=3, max_attempts=2), cancel_after=2, reason="timeout")
    check(late)
    assert (late.status, late.retry_after) == ("retrying", 1.0)
    assert late.error is not None
    assert (late.error.code, late.error.message) == (
        ErrorCode.TIMEOUT,
        "The attempt took longer than its 3 s.",
    )
    released = run_task(made(forever), cancel_after=2, reason="released")
    check(released)
    assert (released.status, released.job.attempt, released.error) == ("queued", 0, None)


async def test_a_task_may_say_where_it_stood_when_it_is_cancelled() -> None:
    """And clean up: it is its own code that runs."""
    cleaned = []

    async def careful() -> None:
        try:
            progress(1, 2)
            await asyncio.sleep(3600)
        finally:
            cleaned.append("up")
            progress.checkpoint("here")

    run = await run_task_async(careful, cancel_after=1, reason="released")
    assert (run.status, run.checkpoint, cleaned) == ("queued", "here", ["up"])


async def test_a_test_that_is_cancelled_ends() -> None:
    """It is not taken for a task that was."""
    running = asyncio.create_task(run_task_async(made(forever_async)))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running


def test_rate_and_time_of_arrival_follow_the_clock_of_the_test() -> None:
    """Nothing sleeps, and every number is the same tomorrow."""
    clock = Clock()

    def steady() -> None:
        for _ in progress.track(range(10)):
            clock.advance(2)

    run = run_task(steady, clock=clock)
    sixth = next(shown for shown in run.progress if shown.current == 6)
    assert (sixth.rate, sixth.eta_seconds) == (0.5, 8)
    assert run.job.finished_at == "2000-01-01T00:00:20.000Z"
    calm = run_task(steady, clock=Clock(), report_seconds=0.1)
    assert len(calm.progress) == 1
    assert calm.job.progress.current == 10


async def test_threads_of_a_task_report_to_it() -> None:
    """Also those of the loop's own pool, and many at once."""

    async def many() -> None:
        loop = asyncio.get_running_loop()
        await asyncio.gather(*(loop.run_in_executor(None, progress.advance) for _ in range(50)))

    run = await run_task_async(many)
    check(run)
    assert run.job.progress.current == 50


def test_a_result_that_is_no_json_fails_as_in_a_worker() -> None:
    """Not first in production."""
    run = run_task(made(lambda: float("nan")))
    assert run.error is not None
    assert (run.status, run.error.code) == ("failed", ErrorCode.SERIALIZATION)


@pytest.mark.parametrize("error", [KeyboardInterrupt, pytest.fail.Exception])
def test_what_ends_a_test_is_not_taken_for_an_outcome(error: type[BaseException]) -> None:
    """Ctrl-C, and `pytest.fail` in a stand-in that the task calls."""

    def interrupted() -> None:
        raise error("now")

    with pytest.raises(error):
        run_task(interrupted)


def test_leaving_by_exit_is_an_outcome() -> None:
    """As it is in a worker."""
    assert run_task(lambda: sys.exit(3)).status == "failed"


def test_the_example_of_the_documentation_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    """What an author copies holds, as it stands there."""
    monkeypatch.setattr("milepost.tasks.REGISTRY", {})
    page = (ROOT / "docs" / "tasks.md").read_text()
    section = page.partition("\n## Testing your task\n")[2]
    code = section.partition("```python\n")[2].partition("```")[0]
    source = compile(code, "docs/tasks.md", "exec")
    names: dict[str, Any] = {"__name__": "example"}
    exec(source, names)
    assert {"test_it_counts", "test_it_goes_on_where_it_stood"} <= names.keys()


# --- the plugin ----------------------------------------------------------------------------------


def python(*args: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    return subprocess.run(
        [sys.executable, *args], cwd=cwd, env=environment, capture_output=True, text=True, check=False
    )


def test_the_fixtures_run_tasks(tmp_path: Path) -> None:
    """By the names that the documentation gives them."""
    (tmp_path / "test_mine.py").write_text(
        "import asyncio\n"
        "def test_one(run_task):\n"
        "    assert run_task(lambda n: n + 1, {'n': 1}).result == 2\n"
        "def test_two(run_task_async):\n"
        "    assert asyncio.run(run_task_async(lambda: 3)).result == 3\n"
    )
    done = python(
        "-m", "pytest", "-q", "-p", "milepost.pytest_plugin", "-p", "no:cacheprovider", ".", cwd=tmp_path
    )
    assert "2 passed" in done.stdout, done.stdout + done.stderr


def test_the_plugin_is_announced_and_costs_a_session_nothing(tmp_path: Path) -> None:
    """pytest finds it by its entry point; what it needs is imported by the first test that uses it."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["entry-points"]["pytest11"] == {"milepost": "milepost.pytest_plugin"}
    code = (
        "import sys, pytest; before = set(sys.modules); import milepost.pytest_plugin;"
        "print(sorted(name for name in set(sys.modules) - before if not name.startswith('__')))"
    )
    done = python("-c", code, cwd=tmp_path)
    assert done.stdout.strip() == "['milepost', 'milepost.pytest_plugin']", done.stderr
