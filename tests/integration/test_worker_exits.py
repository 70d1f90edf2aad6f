"""When a worker leaves by itself: nothing is due any more, or it has run as many as it was to."""

from __future__ import annotations

import signal

from milepost.job import Status
from tests.support.wait import eventually
from tests.support.workers import Fleet


async def test_a_burst_ends_when_nothing_is_due(fleet: Fleet) -> None:
    """All that waits is run, in every queue; what is due later is left to the next worker."""
    jobs = [await fleet.submit("t.add", {"a": n}, queue="ab"[n % 2]) for n in range(25)]
    later = await fleet.submit("t.add", {"a": 1}, queue="a", delay_ms=3_600_000)
    marks = fleet.file()
    failing = await fleet.submit("t.later", {"marks": str(marks), "after": 3600}, queue="a", max_attempts=2)
    worker = fleet.start("--burst", "--queue", "a", "--queue", "b")
    assert worker.wait() == 0
    assert {(await fleet.job(job_id)).status for job_id in jobs} == {Status.SUCCEEDED}
    assert (await fleet.job(later)).status == Status.SCHEDULED
    assert (await fleet.job(failing)).status == Status.RETRYING


async def test_a_burst_runs_what_becomes_due_while_something_runs(fleet: Fleet) -> None:
    """A retry without a wait is part of it."""
    marks = fleet.file()
    job_id = await fleet.submit("t.fail", {"marks": str(marks), "until_attempt": 3}, max_attempts=3)
    assert fleet.start("--burst").wait() == 0
    assert (await fleet.job(job_id)).status == Status.SUCCEEDED
    assert len(fleet.ran(marks)) == 3


async def test_a_job_that_nobody_here_can_run_keeps_no_burst(fleet: Fleet) -> None:
    """It stays where it is, for a worker that knows its task."""
    unknown = await fleet.submit("t.not_here")
    known = await fleet.submit("t.add", {"a": 1})
    assert fleet.start("--burst").wait() == 0
    assert (await fleet.job(known)).status == Status.SUCCEEDED
    assert (await fleet.job(unknown)).status == Status.QUEUED


async def test_an_idle_burst_leaves_at_once_and_without_a_trace(fleet: Fleet) -> None:
    """Nothing to do is success."""
    worker = fleet.start("--burst", poll_seconds=3600)
    assert worker.wait() == 0
    assert await fleet.redis.zcard("mp:workers") == 0


async def test_a_worker_leaves_after_so_many_attempts(fleet: Fleet) -> None:
    """Not one more is begun, however many slots are free, and those that run finish in their own time."""
    marks, go = fleet.file(), fleet.file()
    jobs = [
        await fleet.submit("t.wait_for_file", {"marks": str(marks), "go": str(go)}, priority=-n)
        for n in range(5)
    ]
    worker = fleet.start("--max-jobs-before-exit", "3", drain_seconds=0)
    await eventually(lambda: len(fleet.ran(marks)) == 3, "three run")
    go.touch()
    assert worker.wait() == 0
    assert [(await fleet.job(job_id)).status for job_id in jobs] == ["succeeded"] * 3 + ["queued"] * 2
    assert len(fleet.ran(marks)) == 3


async def test_a_signal_counts_for_a_worker_that_waits_for_its_last_jobs(fleet: Fleet) -> None:
    """Then they get their grace like any others."""
    marks = fleet.file()
    job_id = await fleet.submit("t.sleep", {"marks": str(marks)})
    worker = fleet.start("--max-jobs-before-exit", "1", drain_seconds=0)
    await fleet.running(job_id, marks)
    worker.send(signal.SIGTERM)
    assert worker.wait() == 0
    job = await fleet.job(job_id)
    assert (job.status, job.attempt) == (Status.QUEUED, 0)
