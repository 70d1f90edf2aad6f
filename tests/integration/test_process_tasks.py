"""`@task(process=True)`: what a worker makes of tasks in processes of their own. Real processes, a real Redis."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from statistics import median
from typing import Any

import psutil
import pytest
from redis.asyncio import Redis

from milepost.job import ErrorCode, Job, Status
from tests.support.process import Process, alive
from tests.support.redis import RedisServer
from tests.support.wait import eventually
from tests.support.workers import Fleet

TASKS = "tests.support.tasks.processes"


@pytest.fixture(scope="module")
def worker(
    redis_servers: Callable[[str], RedisServer], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Process]:
    """One worker for all tests here that do it no harm."""
    settings = {
        "MILEPOST_REDIS_URL": redis_servers("embedded").url,
        "MILEPOST_STOP_GRACE_SECONDS": "1",
        "MILEPOST_PROCESS_MEMORY_LIMIT_MB": "400",
    }
    log = tmp_path_factory.mktemp("worker") / "worker.log"
    with Process.python("worker", "-m", "milepost_worker", TASKS, log=log, settings=settings) as process:
        process.wait_until(lambda: "worker.ready" in process.output())
        yield process


@pytest.fixture
def shared(redis: Redis, redis_server: RedisServer, tmp_path: Path, worker: Process) -> Fleet:
    if worker not in Process.seen:
        Process.seen.append(worker)  # what it says belongs into the report of this test, too
    worker.check_alive()
    return Fleet(redis, redis_server.url, tmp_path)


def told(job: Job) -> tuple[str, str | None]:
    """Return the message and the type of a job's error."""
    assert job.error is not None
    return job.error.message, job.error.type


async def traceback_of(fleet: Fleet, job: Job) -> str:
    raw = await fleet.redis.hget(f"mp:{{{job.id}}}:state", "traceback")  # type: ignore[misc]
    return str(raw.decode())


# --- what works as in a thread ---------------------------------------------------------------------


async def test_each_attempt_has_a_process_of_its_own(shared: Fleet, worker: Process) -> None:
    """In a group of its own, in its main thread, with the modules imported once for all."""
    first, second = [(await shared.run("p.where")).result for _ in range(2)]
    assert first["pid"] != second["pid"]
    assert first["imported_by"] == second["imported_by"] == first["parent"]
    assert worker.pid not in {first["pid"], first["parent"]}
    assert first["group"] == first["pid"]
    assert first["main_thread"]


async def test_other_tasks_stay_in_the_worker(shared: Fleet, worker: Process) -> None:
    """`process=True` is for those that ask for it."""
    assert (await shared.run("p.thread")).result == worker.pid


async def test_an_async_task_runs_in_a_loop_of_its_process(shared: Fleet, worker: Process) -> None:
    """Its loop is not the worker's."""
    job = await shared.run("p.async")
    assert job.result != worker.pid
    assert job.progress.message == "waiting"


async def test_everything_that_progress_can_do_comes_through(shared: Fleet) -> None:
    """Plans, steps in steps, counts, logs, outputs: in order, and the result whole."""
    job = await shared.run("p.everything", {"big": 1000})
    assert (job.status, job.result) == (Status.SUCCEEDED, "y" * 1000)
    events = await shared.events(job.id)
    lines = [(one["type"], one.get("message") or one.get("data")) for one in events]
    assert [one for one in lines if one[0] in {"log", "output"}] == [
        ("log", "loaded"),
        ("output", {"text": "x" * 1000}),
        ("log", "saved ☃"),
    ]
    assert next(one for one in events if one["type"] == "log")["level"] == "warning"
    progress = [one["progress"] for one in events if one["type"] == "progress"]
    states = [[(step["key"], step["status"]) for step in one["steps"]] for one in progress]
    for seen in (
        [("load", "running"), ("save", "pending")],
        [("load", "succeeded"), ("save", "pending")],
        [("load", "succeeded"), ("save", "running")],
        [("load", "succeeded"), ("save", "succeeded")],
    ):
        assert seen in states
    percents = [one["percent"] for one in progress]
    assert percents == sorted(percents)
    assert 25.0 in percents
    loaded = next(one for one in progress if one["steps"][0]["status"] == "succeeded")
    assert (loaded["current"], loaded["total"], loaded["unit"]) == (10, 10, "rows")
    assert (job.progress.current, job.progress.total, job.progress.percent) == (4, 4, 100.0)


async def test_a_hot_loop_is_coalesced_and_its_last_value_arrives(shared: Fleet) -> None:
    """The parent gets what a thread would have sent: about ten events a second."""
    job = await shared.run("p.burst", {"seconds": 1.0})
    print(f"one report in a process: {job.result['seconds'] * 1e6:.2f} µs")
    progress = [one for one in await shared.events(job.id) if one["type"] == "progress"]
    assert 2 <= len(progress) <= 12
    assert job.progress.current == job.result["count"]


async def test_thousands_of_outputs_arrive_all_and_in_order(shared: Fleet) -> None:
    """More than may wait on either side: the task waits."""
    job = await shared.run("p.talk", {"lines": 1900})
    outputs = [one["data"] for one in await shared.events(job.id) if one["type"] == "output"]
    assert outputs == list(range(1900))


async def test_large_outputs_and_results_arrive(shared: Fleet) -> None:
    """Seven megabytes in an event, forty in the result."""
    job = await shared.run("p.everything", {"big": 7_000_000})
    outputs = [one["data"] for one in await shared.events(job.id) if one["type"] == "output"]
    assert [len(one["text"]) for one in outputs] == [7_000_000]
    job = await shared.run("p.large", {"size": 40_000_000})
    assert job.status == Status.SUCCEEDED
    raw = await shared.log.result(job.id)
    assert raw is not None
    assert len(raw) == 40_000_002


async def test_a_result_that_is_too_large_fails_with_a_sentence(shared: Fleet) -> None:
    """Above 64 MiB, as in a thread."""
    job = await shared.run("p.large", {"size": 68_000_000})
    message, kind = told(job)
    assert kind == "BadReport"
    assert "bytes of JSON" in message


async def test_what_it_prints_and_logs_is_in_the_workers_output(shared: Fleet, worker: Process) -> None:
    """Standard output is inherited, logging is set up as in the worker."""
    assert (await shared.run("p.says")).status == Status.SUCCEEDED
    await eventually(lambda: "on standard output" in worker.output(), "the print is there")
    assert "through logging" in worker.output()


# --- exceptions ------------------------------------------------------------------------------------


async def test_a_bad_report_is_refused_in_the_tasks_own_frame(shared: Fleet) -> None:
    """And fails the job as one that no other attempt would mend."""
    job = await shared.run("p.bad_report")
    assert job.error is not None
    assert (job.error.code, job.error.type) == (ErrorCode.SERIALIZATION, "BadReport")
    events = await shared.events(job.id)
    assert "refused in the task's own frame" in [one.get("message") for one in events]


async def test_causes_and_notes_are_in_the_traceback(shared: Fleet) -> None:
    """With the frames of the task's process."""
    job = await shared.run("p.chained")
    assert told(job) == ("the import failed", "RuntimeError")
    text = await traceback_of(shared, job)
    for part in (
        "LookupError: no such row",
        "direct cause",
        "RuntimeError: the import failed",
        "file rows.csv, line 7",
        "in chained",
    ):
        assert part in text


@pytest.mark.parametrize(
    ("kind", "name", "message", "attempts"),
    [
        ("plain", "LookupError", "no such row", 1),
        ("wayward", "Wayward", "gone astray (7)", 2),
        ("locked", "Locked", "has a lock", 2),
        ("local", "_raise.<locals>.Local", "of a function (8)", 2),
        ("mute", "Mute", "(its message could not be read: ValueError)", 1),
        ("exit", "SystemExit", "1", 1),
        ("base", "KeyboardInterrupt", "not by a key", 1),
        ("huge", "ValueError", "h" * 10_000, 1),
    ],
)
async def test_an_exception_travels_whole(
    shared: Fleet, kind: str, name: str, message: str, attempts: int
) -> None:
    """Type, message, traceback; and `retry_on` knows it, also when it cannot be pickled or made again."""
    marks = shared.file()
    job = await shared.run("p.raise", {"kind": kind, "marks": str(marks)}, max_attempts=2)
    assert job.status == Status.FAILED
    assert told(job) == (message, name)
    assert len(shared.ran(marks)) == job.attempt == attempts
    assert (
        "in _raise" in await traceback_of(shared, job) or kind == "huge"
    )  # a traceback is cut at its beginning
    assert job.progress.current == 3


@pytest.mark.parametrize("locked", [False, True])
async def test_a_task_may_ask_for_another_attempt(shared: Fleet, locked: bool) -> None:
    """`Retry` keeps its `after`, also where it cannot be pickled."""
    params = {"marks": str(shared.file()), "locked": locked}
    job = await shared.run("p.later", params, max_attempts=2)
    assert (job.result, job.attempt) == ("at last", 2)
    assert [one for one, _ in await shared.statuses(job.id)].count("retrying") == 1


async def test_params_that_do_not_fit_are_refused_with_a_sentence(shared: Fleet) -> None:
    """Before any process starts."""
    job = await shared.run("p.burst", {"seconds": "long"})
    assert told(job)[1] == "ParamsError"


# --- a process that dies ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "sentence"),
    [
        ("exit", "exit code 3"),
        ("zero", "exit code 0"),
        ("segfault", "SIGSEGV"),
        ("kill", "out of memory"),
    ],
)
async def test_a_process_that_dies_is_a_failed_job(
    shared: Fleet, worker: Process, kind: str, sentence: str
) -> None:
    """With a sentence that says how; what was reported before is kept, and the worker lives."""
    marks = shared.file()
    job = await shared.run("p.die", {"kind": kind, "marks": str(marks)}, max_attempts=2)
    assert job.error is not None
    assert (job.status, job.error.code) == (Status.FAILED, ErrorCode.EXCEPTION)
    message, name = told(job)
    assert name == "ProcessDied"
    assert sentence in message
    assert len(shared.ran(marks)) == job.attempt == 2
    assert (job.progress.current, job.progress.message) == (7, "so far")
    assert [step.status for step in job.progress.steps] == ["failed"]
    assert worker.alive


async def test_the_death_of_a_process_can_be_retried(shared: Fleet) -> None:
    """`retry_on=ProcessDied`."""
    params = {"kind": "segfault", "marks": str(shared.file()), "once": True}
    job = await shared.run("p.die", params, max_attempts=2)
    assert (job.status, job.result, job.attempt) == (Status.SUCCEEDED, "at last", 2)


@pytest.mark.parametrize(("kind", "name"), [("closed", "ProcessDied"), ("garbage", "BrokenRelay")])
async def test_a_process_that_breaks_its_connection_is_a_failed_job(
    shared: Fleet, kind: str, name: str
) -> None:
    """One that can say nothing any more is killed, and so is one that says what is no message."""
    marks = shared.file()
    job = await shared.run("p.die", {"kind": kind, "marks": str(marks)}, max_attempts=1)
    assert told(job)[1] == name
    await eventually(lambda: not alive(shared.ran(marks)[0]), "it is gone")


@pytest.mark.parametrize("kind", ["little by little", "at once"])
async def test_too_much_memory_is_a_failed_job(shared: Fleet, worker: Process, kind: str) -> None:
    """With a sentence that names the limit; the worker lives."""
    job = await shared.run("p.memory", {"kind": kind})
    message, name = told(job)
    assert (job.status, name) == (Status.FAILED, "MemoryLimitExceeded")
    assert "200 MB" in message
    assert "memory_limit_mb" in message
    assert worker.alive


async def test_a_task_within_its_limit_is_not_touched(shared: Fleet) -> None:
    """Fifty megabytes of two hundred."""
    assert (await shared.run("p.memory", {"kind": "within"})).result == 50_000_000


async def test_the_workers_setting_limits_tasks_that_set_no_limit(shared: Fleet) -> None:
    """MILEPOST_PROCESS_MEMORY_LIMIT_MB."""
    message, name = told(await shared.run("p.default_limit"))
    assert name == "MemoryLimitExceeded"
    assert "400 MB" in message


# --- being stopped ---------------------------------------------------------------------------------


async def cancelled(fleet: Fleet, task: str, params: dict[str, Any], marks: Path) -> Job:
    job_id = await fleet.submit(task, params)
    await fleet.running(job_id, marks)
    await fleet.log.cancel(job_id)
    return await fleet.ended(job_id)


async def test_cancel_raises_stopped_in_a_sleeping_task(shared: Fleet) -> None:
    """Its `finally` blocks run, and `progress.cancelled` is true in them."""
    marks = shared.file()
    job = await cancelled(shared, "p.sleep", {"marks": str(marks)}, marks)
    assert job.status == Status.CANCELLED
    assert [line.split()[0] for line in marks.read_text().splitlines()] == ["ran", "Stopped-True", "cleaned"]
    await eventually(lambda: not alive(shared.ran(marks)[0]), "its process is gone")


async def test_cancel_cancels_an_async_task(shared: Fleet) -> None:
    """With a CancelledError at its await, inside its own loop."""
    marks = shared.file()
    job = await cancelled(shared, "p.async", {"marks": str(marks), "seconds": 3600}, marks)
    assert job.status == Status.CANCELLED
    assert len(shared.ran(marks, "cancelled-True")) == 1


@pytest.mark.parametrize("task", ["p.compute", "p.deaf", "p.sleep"])
async def test_a_task_that_does_not_listen_is_killed(shared: Fleet, task: str) -> None:
    """In C code, with its signals blocked, or swallowing what is raised: after the grace it is gone."""
    marks = shared.file()
    params = {"marks": str(marks)} | ({"swallow": True} if task == "p.sleep" else {})
    job = await cancelled(shared, task, params, marks)
    assert job.status == Status.CANCELLED
    assert not alive(shared.ran(marks)[0])


async def test_a_timeout_ends_the_process(shared: Fleet) -> None:
    """The job fails with `timeout`."""
    marks = shared.file()
    job = await shared.run("p.timeout", {"marks": str(marks)}, timeout_seconds=0.5)
    assert job.error is not None
    assert job.error.code == ErrorCode.TIMEOUT
    assert not alive(shared.ran(marks)[0])


@pytest.mark.parametrize("stay", [True, False])
async def test_what_the_task_started_ends_with_it(shared: Fleet, stay: bool) -> None:
    """Cancelled or done: its own child processes do not stay, SIGTERM ignored or not."""
    marks = shared.file()
    params = {"marks": str(marks), "stay": stay}
    if stay:
        await cancelled(shared, "p.family", params, marks)
    else:
        assert (await shared.run("p.family", params)).status == Status.SUCCEEDED
    (grandchild,) = shared.ran(marks, "grandchild")
    await eventually(lambda: not alive(grandchild), "the grandchild is gone")


async def test_a_signal_that_the_worker_did_not_send_stops_no_task(shared: Fleet) -> None:
    """SIGTERM and SIGINT to everything in a container are for the worker to answer."""
    marks, go = shared.file(), shared.file()
    job_id = await shared.submit("p.loop", {"marks": str(marks), "go": str(go)})
    await shared.running(job_id, marks)
    (pid,) = shared.ran(marks)
    for number in (signal.SIGTERM, signal.SIGINT):
        os.kill(pid, number)
        os.kill(psutil.Process(pid).ppid(), number)
    seen = (await shared.job(job_id)).version
    await shared.until(job_id, lambda job: job.version > seen + 1, "goes on reporting")
    go.touch()
    assert (await shared.ended(job_id)).result == f"pid {pid}"


# --- nothing is left ------------------------------------------------------------------------------


async def test_many_jobs_leave_nothing_behind(shared: Fleet, worker: Process) -> None:
    """No zombies, no open files, no threads; the time from start to end of an attempt is printed."""
    await shared.run("p.where")
    process = psutil.Process(worker.pid)
    (server,) = process.children()

    def clean() -> bool:
        return process.children() == [server] and server.children() == []

    await eventually(clean, "what ran before is gone")
    before = process.num_fds(), server.num_fds(), process.num_threads()
    jobs = [await shared.run("p.where") for _ in range(50)]
    assert {job.status for job in jobs} == {Status.SUCCEEDED}
    spent = [_seconds(job) for job in jobs]
    print(
        f"an attempt in a process: median {median(spent) * 1000:.0f} ms, longest {max(spent) * 1000:.0f} ms"
    )
    await eventually(clean, "no process is left")
    await eventually(lambda: process.num_threads() <= before[2], "no thread is left")
    assert (process.num_fds(), server.num_fds()) == before[:2]


def _seconds(job: Job) -> float:
    assert job.started_at is not None
    assert job.finished_at is not None
    took = datetime.fromisoformat(job.finished_at) - datetime.fromisoformat(job.started_at)
    return took.total_seconds()
