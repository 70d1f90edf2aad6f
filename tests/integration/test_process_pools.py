"""`progress.bind` in pools of processes that a task makes by itself: they report to its job, and hear of its end."""

from __future__ import annotations

import pytest

from milepost.job import Status
from tests.support.process import Process, alive
from tests.support.wait import eventually
from tests.support.workers import Fleet


@pytest.mark.parametrize("task", ["p.pool", "p.pool_of_a_process"])
@pytest.mark.parametrize("kind", ["executor", "spawn", "forkserver", "fork"])
async def test_processes_of_a_pool_count_together(
    processes: Fleet, process_worker: Process, task: str, kind: str
) -> None:
    """What each advances is summed up, in the step that was bound; their logs arrive; nothing is left open."""
    times = 30
    job = await processes.run(task, {"kind": kind, "times": times})
    assert job.status == Status.SUCCEEDED
    assert (job.progress.current, job.progress.total) == (2 * times, 2 * times)
    assert process_worker.pid not in job.result
    logs = [one["message"] for one in await processes.events(job.id) if one["type"] == "log"]
    assert sorted(logs) == sorted(f"{n} done" for n in range(times))


@pytest.mark.parametrize("task", ["p.waiting_pool", "p.waiting_pool_of_a_process"])
async def test_a_cancel_reaches_the_processes_of_a_pool(processes: Fleet, task: str) -> None:
    """They are stopped at their next report, and `progress.cancelled` is true there."""
    marks = processes.file()
    job_id = await processes.submit(task, {"marks": str(marks)})
    await processes.running(job_id, marks)
    await eventually(lambda: len(processes.ran(marks)) == 2, "both have begun")
    await processes.log.cancel(job_id)
    assert (await processes.ended(job_id)).status == Status.CANCELLED
    pids = processes.ran(marks)
    await eventually(lambda: not any(alive(pid) for pid in pids), "they are gone")
    if task == "p.waiting_pool":  # those of a process may be ended by a signal before they report again
        assert len(processes.ran(marks, "cancelled-True")) == 2
