"""Process tasks and the end of their worker: it leaves, it is killed, its fork server is. Workers of the test's own."""

from __future__ import annotations

import asyncio
import os
import signal
from collections import Counter

import psutil
import pytest

from milepost.job import Status
from tests.support.process import Process, alive, children
from tests.support.wait import eventually
from tests.support.workers import Fleet

TASKS = "tests.support.tasks.processes"


@pytest.mark.parametrize("task", ["p.loop", "p.sleep", "p.compute"])
async def test_a_leaving_worker_hands_its_process_tasks_back(fleet: Fleet, task: str) -> None:
    """The process is ended, the attempt does not count, another worker has the job at once."""
    leaving = await fleet.worker(TASKS, drain_seconds=0.2, stop_grace_seconds=0.3)
    marks, go = fleet.file(), fleet.file()
    params = {"marks": str(marks)} | ({"go": str(go)} if task == "p.loop" else {})
    job_id = await fleet.submit(task, params)
    await fleet.running(job_id, marks)
    server = children(leaving.pid)
    heir = await fleet.worker(TASKS, lease_seconds=60, silence_seconds=50, poll_seconds=60)
    leaving.send(signal.SIGTERM)
    assert leaving.wait() == 0
    await eventually(lambda: len(fleet.ran(marks)) == 2, "it runs elsewhere")
    assert not any(alive(pid) for pid in [fleet.ran(marks)[0], *server])
    assert await fleet.statuses(job_id) == [("queued", 0), ("running", 1), ("queued", 0), ("running", 1)]
    await fleet.log.cancel(job_id)
    assert (await fleet.ended(job_id)).attempt == 1
    heir.stop()


async def test_a_process_task_may_finish_while_the_worker_drains(fleet: Fleet) -> None:
    """SIGTERM to the worker's whole group, as a terminal's Ctrl-C would send SIGINT, does not disturb it."""
    worker = await fleet.worker(TASKS)
    marks, go = fleet.file(), fleet.file()
    job_id = await fleet.submit("p.loop", {"marks": str(marks), "go": str(go)})
    await fleet.running(job_id, marks)
    os.killpg(worker.pid, signal.SIGTERM)
    for pid in (*children(worker.pid), *fleet.ran(marks)):
        os.kill(pid, signal.SIGTERM)
    await eventually(lambda: "worker.drains" in worker.output(), "it drains")
    go.touch()
    assert worker.wait() == 0
    job = await fleet.job(job_id)
    assert (job.status, job.attempt) == (Status.SUCCEEDED, 1)


async def test_one_that_finishes_when_told_to_stop_has_succeeded(fleet: Fleet) -> None:
    """As in a thread: while the worker leaves, a result is a result."""
    worker = await fleet.worker(TASKS, drain_seconds=0, stop_grace_seconds=30)
    marks = fleet.file()
    job_id = await fleet.submit("p.sleep", {"marks": str(marks), "finish": True})
    await fleet.running(job_id, marks)
    worker.send(signal.SIGTERM)
    assert worker.wait() == 0
    assert (await fleet.job(job_id)).result == "finished in time"


@pytest.mark.parametrize("task", ["p.loop", "p.compute", "p.deaf", "p.family"])
async def test_nothing_outlives_a_worker_that_is_killed(fleet: Fleet, task: str) -> None:
    """Neither the task's process, in C code or not, nor what it has started, nor the fork server."""
    worker = await fleet.worker(TASKS)
    marks = fleet.file()
    params = {"marks": str(marks)} | ({"go": str(fleet.file())} if task == "p.loop" else {})
    job_id = await fleet.submit(task, params)
    await fleet.running(job_id, marks)
    family = children(worker.pid)
    assert len(family) >= 2
    os.kill(worker.pid, signal.SIGKILL)
    await eventually(lambda: not any(alive(pid) for pid in family), "all are gone")


async def test_when_the_fork_server_dies_its_processes_do_and_a_new_one_starts(fleet: Fleet) -> None:
    """The job fails with a sentence; the next one runs."""
    worker = await fleet.worker(TASKS)
    marks = fleet.file()
    job_id = await fleet.submit("p.deaf", {"marks": str(marks)})
    await fleet.running(job_id, marks)
    (pid,) = fleet.ran(marks)
    os.kill(psutil.Process(pid).ppid(), signal.SIGKILL)
    error = (await fleet.ended(job_id)).error
    assert error is not None
    assert error.type == "ProcessDied"
    assert "fork server" in error.message
    assert (await fleet.run("p.where")).status == Status.SUCCEEDED
    await eventually(lambda: not alive(pid), "its process is gone")
    assert worker.alive


async def test_modules_that_the_fork_server_cannot_import_are_refused_at_start(fleet: Fleet) -> None:
    """Not at the first job; the sentence says what it was."""
    settings = {"MILEPOST_REDIS_URL": fleet.url, "TEST_IMPORTED": str(fleet.file())}
    argv = ("-m", "milepost_worker", "tests.support.tasks.once")
    with Process.python("once", *argv, log=fleet.folder / "once.log", settings=settings) as worker:
        assert worker.wait() == 2
        assert "but not a second time" in worker.output()
        assert "FileExistsError" in worker.output()


async def test_cancels_at_any_moment_end_every_job_and_leave_no_process(fleet: Fleet) -> None:
    """From before the process starts to while its task runs; what the outcomes were is printed."""
    worker = await fleet.worker(TASKS, stop_grace_seconds=30)
    family = children(worker.pid)
    outcomes = Counter[str]()
    for n in range(40):
        marks = fleet.file()
        job_id = await fleet.submit("p.sleep", {"marks": str(marks)})
        if n % 2:
            await fleet.running(job_id)
        await asyncio.sleep(n % 10 * 0.004)
        await fleet.log.cancel(job_id)
        job = await fleet.ended(job_id)
        outcomes[f"{job.status}, {'begun' if fleet.ran(marks) else 'not begun'}"] += 1
        assert job.status == Status.CANCELLED
        assert not any(alive(pid) for pid in fleet.ran(marks))
    print(dict(outcomes))
    await eventually(lambda: children(worker.pid) == family, "no process is left")
