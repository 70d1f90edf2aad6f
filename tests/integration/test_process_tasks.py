"""`@task(process=True)`: what a worker makes of tasks in processes of their own. Real processes, a real Redis."""

from __future__ import annotations

import os
import signal
from datetime import datetime
from pathlib import Path
from statistics import median
from typing import Any

import psutil
import pytest

from milepost.job import ErrorCode, Job, Status
from tests.support.process import Process, alive
from tests.support.wait import eventually
from tests.support.workers import Fleet


def told(job: Job) -> tuple[str, str | None]:
    """Return the message and the type of a job's error."""
    assert job.error is not None
    return job.error.message, job.error.type


async def traceback_of(fleet: Fleet, job: Job) -> str:
    raw = await fleet.redis.hget(f"mp:{{{job.id}}}:state", "traceback")  # type: ignore[misc]
    return str(raw.decode())


# --- what works as in a thread ---------------------------------------------------------------------


async def test_each_attempt_has_a_process_of_its_own(processes: Fleet, process_worker: Process) -> None:
    """In a group of its own, in its main thread, with the modules imported once for all."""
    first, second = [(await processes.run("p.where")).result for _ in range(2)]
    assert first["pid"] != second["pid"]
    assert first["imported_by"] == second["imported_by"] == first["parent"]
    assert process_worker.pid not in {first["pid"], first["parent"]}
    assert first["group"] == first["pid"]
    assert first["main_thread"]


async def test_other_tasks_stay_in_the_worker(processes: Fleet, process_worker: Process) -> None:
    """`process=True` is for those that ask for it."""
    assert (await processes.run("p.thread")).result == process_worker.pid


async def test_an_async_task_runs_in_a_loop_of_its_process(processes: Fleet, process_worker: Process) -> None:
    """Its loop is not the worker's."""
    job = await processes.run("p.async")
    assert job.result != process_worker.pid
    assert job.progress.message == "waiting"


async def test_everything_that_progress_can_do_comes_through(processes: Fleet) -> None:
    """Plans, steps in steps, counts, logs, outputs: in order, and the result whole."""
    job = await processes.run("p.everything", {"big": 1000})
    assert (job.status, job.result) == (Status.SUCCEEDED, "y" * 1000)
    events = await processes.events(job.id)
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


async def test_a_hot_loop_is_coalesced_and_its_last_value_arrives(processes: Fleet) -> None:
    """The parent gets what a thread would have sent: about ten events a second."""
    job = await processes.run("p.burst", {"seconds": 1.0})
    print(f"one report in a process: {job.result['seconds'] * 1e6:.2f} µs")
    progress = [one for one in await processes.events(job.id) if one["type"] == "progress"]
    assert 2 <= len(progress) <= 12
    assert job.progress.current == job.result["count"]


async def test_thousands_of_outputs_arrive_all_and_in_order(processes: Fleet) -> None:
    """More than may wait on either side: the task waits."""
    job = await processes.run("p.talk", {"lines": 1900})
    outputs = [one["data"] for one in await processes.events(job.id) if one["type"] == "output"]
    assert outputs == list(range(1900))


async def test_large_outputs_and_results_arrive(processes: Fleet) -> None:
    """Seven megabytes in an event, forty in the result."""
    job = await processes.run("p.everything", {"big": 7_000_000})
    outputs = [one["data"] for one in await processes.events(job.id) if one["type"] == "output"]
    assert [len(one["text"]) for one in outputs] == [7_000_000]
    job = await processes.run("p.large", {"size": 40_000_000})
    assert job.status == Status.SUCCEEDED
    raw = await processes.log.result(job.id)
    assert raw is not None
    assert len(raw) == 40_000_002


async def test_a_result_that_is_too_large_fails_with_a_sentence(processes: Fleet) -> None:
    """Above 64 MiB, as in a thread."""
    job = await processes.run("p.large", {"size": 68_000_000})
    message, kind = told(job)
    assert kind == "BadReport"
    assert "bytes of JSON" in message


async def test_what_it_prints_and_logs_is_in_the_workers_output(
    processes: Fleet, process_worker: Process
) -> None:
    """Standard output is inherited, logging is set up as in the worker, and captured where it is there."""
    job = await processes.run("p.says")
    logs = [one for one in await processes.events(job.id) if one["type"] == "log"]
    assert [(one["message"], one["source"]) for one in logs] == [("through logging", "app")]
    await eventually(lambda: "on standard output" in process_worker.output(), "the print is there")
    assert "through logging" in process_worker.output()


# --- exceptions ------------------------------------------------------------------------------------


async def test_a_bad_report_is_refused_in_the_tasks_own_frame(processes: Fleet) -> None:
    """And fails the job as one that no other attempt would mend."""
    job = await processes.run("p.bad_report")
    assert job.error is not None
    assert (job.error.code, job.error.type) == (ErrorCode.SERIALIZATION, "BadReport")
    events = await processes.events(job.id)
    assert "refused in the task's own frame" in [one.get("message") for one in events]


async def test_causes_and_notes_are_in_the_traceback(processes: Fleet) -> None:
    """With the frames of the task's process."""
    job = await processes.run("p.chained")
    assert told(job) == ("the import failed", "RuntimeError")
    text = await traceback_of(processes, job)
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
    processes: Fleet, kind: str, name: str, message: str, attempts: int
) -> None:
    """Type, message, traceback; and `retry_on` knows it, also when it cannot be pickled or made again."""
    marks = processes.file()
    job = await processes.run("p.raise", {"kind": kind, "marks": str(marks)}, max_attempts=2)
    assert job.status == Status.FAILED
    assert told(job) == (message, name)
    assert len(processes.ran(marks)) == job.attempt == attempts
    assert (
        "in _raise" in await traceback_of(processes, job) or kind == "huge"
    )  # a traceback is cut at its beginning
    assert job.progress.current == 3


@pytest.mark.parametrize("locked", [False, True])
async def test_a_task_may_ask_for_another_attempt(processes: Fleet, locked: bool) -> None:
    """`Retry` keeps its `after`, also where it cannot be pickled."""
    params = {"marks": str(processes.file()), "locked": locked}
    job = await processes.run("p.later", params, max_attempts=2)
    assert (job.result, job.attempt) == ("at last", 2)
    assert [one for one, _ in await processes.statuses(job.id)].count("retrying") == 1


async def test_params_that_do_not_fit_are_refused_with_a_sentence(processes: Fleet) -> None:
    """Before any process starts."""
    job = await processes.run("p.burst", {"seconds": "long"})
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
    processes: Fleet, process_worker: Process, kind: str, sentence: str
) -> None:
    """With a sentence that says how; what was reported before is kept, and the worker lives."""
    marks = processes.file()
    job = await processes.run("p.die", {"kind": kind, "marks": str(marks)}, max_attempts=2)
    assert job.error is not None
    assert (job.status, job.error.code) == (Status.FAILED, ErrorCode.EXCEPTION)
    message, name = told(job)
    assert name == "ProcessDied"
    assert sentence in message
    assert len(processes.ran(marks)) == job.attempt == 2
    assert (job.progress.current, job.progress.message) == (7, "so far")
    assert [step.status for step in job.progress.steps] == ["failed"]
    assert process_worker.alive


async def test_the_death_of_a_process_can_be_retried(processes: Fleet) -> None:
    """`retry_on=ProcessDied`."""
    params = {"kind": "segfault", "marks": str(processes.file()), "once": True}
    job = await processes.run("p.die", params, max_attempts=2)
    assert (job.status, job.result, job.attempt) == (Status.SUCCEEDED, "at last", 2)


@pytest.mark.parametrize(("kind", "name"), [("closed", "ProcessDied"), ("garbage", "BrokenRelay")])
async def test_a_process_that_breaks_its_connection_is_a_failed_job(
    processes: Fleet, kind: str, name: str
) -> None:
    """One that can say nothing any more is killed, and so is one that says what is no message."""
    marks = processes.file()
    job = await processes.run("p.die", {"kind": kind, "marks": str(marks)}, max_attempts=1)
    assert told(job)[1] == name
    await eventually(lambda: not alive(processes.ran(marks)[0]), "it is gone")


@pytest.mark.parametrize("kind", ["little by little", "at once"])
async def test_too_much_memory_is_a_failed_job(processes: Fleet, process_worker: Process, kind: str) -> None:
    """With a sentence that names the limit; the worker lives."""
    job = await processes.run("p.memory", {"kind": kind})
    message, name = told(job)
    assert (job.status, name) == (Status.FAILED, "MemoryLimitExceeded")
    assert "200 MB" in message
    assert "memory_limit_mb" in message
    assert process_worker.alive


async def test_a_task_within_its_limit_is_not_touched(processes: Fleet) -> None:
    """Fifty megabytes of two hundred."""
    assert (await processes.run("p.memory", {"kind": "within"})).result == 50_000_000


async def test_the_workers_setting_limits_tasks_that_set_no_limit(processes: Fleet) -> None:
    """MILEPOST_PROCESS_MEMORY_LIMIT_MB."""
    message, name = told(await processes.run("p.default_limit"))
    assert name == "MemoryLimitExceeded"
    assert "400 MB" in message


# --- being stopped ---------------------------------------------------------------------------------


async def cancelled(fleet: Fleet, task: str, params: dict[str, Any], marks: Path) -> Job:
    job_id = await fleet.submit(task, params)
    await fleet.running(job_id, marks)
    await fleet.log.cancel(job_id)
    return await fleet.ended(job_id)


async def test_cancel_raises_stopped_in_a_sleeping_task(processes: Fleet) -> None:
    """Its `finally` blocks run, and `progress.cancelled` is true in them."""
    marks = processes.file()
    job = await cancelled(processes, "p.sleep", {"marks": str(marks)}, marks)
    assert job.status == Status.CANCELLED
    assert [line.split()[0] for line in marks.read_text().splitlines()] == ["ran", "Stopped-True", "cleaned"]
    await eventually(lambda: not alive(processes.ran(marks)[0]), "its process is gone")


async def test_cancel_cancels_an_async_task(processes: Fleet) -> None:
    """With a CancelledError at its await, inside its own loop."""
    marks = processes.file()
    job = await cancelled(processes, "p.async", {"marks": str(marks), "seconds": 3600}, marks)
    assert job.status == Status.CANCELLED
    assert len(processes.ran(marks, "cancelled-True")) == 1


@pytest.mark.parametrize("task", ["p.compute", "p.deaf", "p.sleep"])
async def test_a_task_that_does_not_listen_is_killed(processes: Fleet, task: str) -> None:
    """In C code, with its signals blocked, or swallowing what is raised: after the grace it is gone."""
    marks = processes.file()
    params = {"marks": str(marks)} | ({"swallow": True} if task == "p.sleep" else {})
    job = await cancelled(processes, task, params, marks)
    assert job.status == Status.CANCELLED
    assert not alive(processes.ran(marks)[0])


async def test_a_timeout_ends_the_process(processes: Fleet) -> None:
    """The job fails with `timeout`."""
    marks = processes.file()
    job = await processes.run("p.timeout", {"marks": str(marks)}, timeout_seconds=0.5)
    assert job.error is not None
    assert job.error.code == ErrorCode.TIMEOUT
    assert not alive(processes.ran(marks)[0])


@pytest.mark.parametrize("stay", [True, False])
async def test_what_the_task_started_ends_with_it(processes: Fleet, stay: bool) -> None:
    """Cancelled or done: its own child processes do not stay, SIGTERM ignored or not."""
    marks = processes.file()
    params = {"marks": str(marks), "stay": stay}
    if stay:
        await cancelled(processes, "p.family", params, marks)
    else:
        assert (await processes.run("p.family", params)).status == Status.SUCCEEDED
    (grandchild,) = processes.ran(marks, "grandchild")
    await eventually(lambda: not alive(grandchild), "the grandchild is gone")


async def test_a_signal_that_the_worker_did_not_send_stops_no_task(processes: Fleet) -> None:
    """SIGTERM and SIGINT to everything in a container are for the worker to answer."""
    marks, go = processes.file(), processes.file()
    job_id = await processes.submit("p.loop", {"marks": str(marks), "go": str(go)})
    await processes.running(job_id, marks)
    (pid,) = processes.ran(marks)
    for number in (signal.SIGTERM, signal.SIGINT):
        os.kill(pid, number)
        os.kill(psutil.Process(pid).ppid(), number)
    seen = (await processes.job(job_id)).version
    await processes.until(job_id, lambda job: job.version > seen + 1, "goes on reporting")
    go.touch()
    assert (await processes.ended(job_id)).result == f"pid {pid}"


# --- nothing is left ------------------------------------------------------------------------------


async def test_many_jobs_leave_nothing_behind(processes: Fleet, process_worker: Process) -> None:
    """No zombies, no open files, no threads; the time from start to end of an attempt is printed."""
    await processes.run("p.where")
    process = psutil.Process(process_worker.pid)
    (server,) = process.children()

    def clean() -> bool:
        return process.children() == [server] and server.children() == []

    await eventually(clean, "what ran before is gone")
    before = process.num_fds(), server.num_fds(), process.num_threads()
    jobs = [await processes.run("p.where") for _ in range(50)]
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
