"""How a worker leaves: jobs finish or are handed back, and no deploy costs an attempt."""

from __future__ import annotations

import signal
import time
from functools import partial

import pytest

from milepost.job import Status
from milepost.log import Catalogue
from tests.support.process import Process
from tests.support.redis import RedisServer
from tests.support.wait import eventually
from tests.support.workers import Fleet


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_running_jobs_may_finish(fleet: Fleet, number: int) -> None:
    """No new one is taken meanwhile, and the worker is gone when the last has ended."""
    worker = await fleet.worker()
    marks, go = fleet.file(), fleet.file()
    job_id = await fleet.submit("t.wait_for_file", {"marks": str(marks), "go": str(go)})
    await fleet.running(job_id, marks)
    worker.send(number)
    await eventually(lambda: "worker.drains" in worker.output(), "it drains")
    waiting = await fleet.submit("t.add", {"a": 1})
    go.touch()
    assert worker.wait() == 0
    job = await fleet.job(job_id)
    assert (job.status, job.attempt) == (Status.SUCCEEDED, 1)
    assert (await fleet.job(waiting)).status == Status.QUEUED
    assert await Catalogue(fleet.redis).workers() == []


@pytest.mark.parametrize("task", ["t.wait_for_file", "t.loop", "t.deaf"])
async def test_jobs_that_do_not_finish_in_time_are_handed_back(fleet: Fleet, task: str) -> None:
    """They use no attempt and run elsewhere at once: nobody waits for a lease to end, or for a poll."""
    leaving = await fleet.worker(drain_seconds=0.2, stop_grace_seconds=0.2)
    marks, go = fleet.file(), fleet.file()
    params = {"marks": str(marks)} | ({} if task == "t.loop" else {"go": str(go)})
    job_id = await fleet.submit(task, params)
    await fleet.running(job_id, marks)
    heir = await fleet.worker(lease_seconds=60, silence_seconds=50, poll_seconds=60)
    leaving.send(signal.SIGTERM)
    assert leaving.wait() == 0
    await eventually(lambda: fleet.ran(marks) == [leaving.pid, heir.pid], "it runs elsewhere")
    if task == "t.loop":
        await fleet.log.cancel(job_id)
    else:
        go.touch()
    job = await fleet.ended(job_id)
    assert (job.attempt, job.max_attempts) == (1, 1)
    assert (await fleet.statuses(job_id))[:4] == [
        ("queued", 0),
        ("running", 1),
        ("queued", 0),
        ("running", 1),
    ]
    assert await fleet.leftovers() == []


async def test_a_second_signal_hastens(fleet: Fleet) -> None:
    """Jobs are handed back now, not when the time for draining is over."""
    worker = await fleet.worker(drain_seconds=3600)
    marks = fleet.file()
    job_id = await fleet.submit("t.sleep", {"marks": str(marks)})
    await fleet.running(job_id, marks)
    worker.send(signal.SIGTERM)
    await eventually(lambda: "worker.drains" in worker.output(), "it drains")
    assert worker.alive
    worker.send(signal.SIGTERM)
    assert worker.wait() == 0
    assert len(fleet.ran(marks, "cancelled")) == 1
    job = await fleet.job(job_id)
    assert (job.status, job.attempt) == (Status.QUEUED, 0)


async def test_a_job_that_was_cancelled_is_not_handed_back(fleet: Fleet) -> None:
    """A cancel that the leaving worker has not heard is carried out by the log."""
    worker = await fleet.worker(drain_seconds=0, lease_seconds=60, silence_seconds=50)
    marks = fleet.file()
    job_id = await fleet.submit("t.sleep", {"marks": str(marks)})
    await fleet.running(job_id, marks)
    await fleet.redis.hset(f"mp:{{{job_id}}}:state", "cancel_requested", "1")  # type: ignore[misc]
    worker.send(signal.SIGTERM)
    assert worker.wait() == 0
    assert (await fleet.job(job_id)).status == Status.CANCELLED
    assert await fleet.leftovers() == []


async def test_an_idle_worker_leaves_at_once(fleet: Fleet) -> None:
    """It waits for no poll and no time to drain."""
    worker = await fleet.worker(drain_seconds=3600, poll_seconds=3600)
    began = time.monotonic()
    worker.send(signal.SIGTERM)
    assert worker.wait() == 0
    assert time.monotonic() - began < 25


async def test_a_worker_leaves_while_redis_is_away(fleet: Fleet, redis_server: RedisServer) -> None:
    """Idle, it needs nobody's leave."""
    worker = await fleet.worker(drain_seconds=1)
    redis_server.stop()
    worker.send(signal.SIGTERM)
    assert worker.wait() == 0


@pytest.mark.slow
async def test_a_blocked_event_loop_does_not_keep_a_worker_nor_cost_an_attempt(fleet: Fleet) -> None:
    """The hard deadline is a thread's: it hands back what runs, and ends the process."""
    leaving = await fleet.worker(drain_seconds=0, stop_grace_seconds=0)
    marks = fleet.file()
    job_id = await fleet.submit("t.block", {"seconds": 3600, "marks": str(marks)})
    await fleet.running(job_id, marks)
    leaving.send(signal.SIGTERM)
    assert leaving.wait() == 1
    assert "worker.hard_deadline" in leaving.output()
    assert await fleet.statuses(job_id) == [("queued", 0), ("running", 1), ("queued", 0)]
    heir = fleet.start()  # the task will block it before it can announce itself
    await eventually(lambda: fleet.ran(marks) == [leaving.pid, heir.pid], "it runs elsewhere")
    assert (await fleet.job(job_id)).attempt == 1


@pytest.mark.slow
async def test_a_worker_with_a_job_leaves_while_redis_is_away(
    fleet: Fleet, redis_server: RedisServer
) -> None:
    """It cannot hand the job back, so its lease tells; waiting longer would get it killed."""
    worker = await fleet.worker(drain_seconds=0, stop_grace_seconds=0)
    marks = fleet.file()
    job_id = await fleet.submit("t.sleep", {"marks": str(marks)}, max_attempts=2)
    await fleet.running(job_id, marks)
    redis_server.stop()
    worker.send(signal.SIGTERM)
    assert worker.wait() == 1
    redis_server.start()
    await fleet.worker()
    async with fleet.caretaker():
        await eventually(lambda: len(fleet.ran(marks)) == 2, "another worker has it")


async def test_what_could_not_be_handed_back_at_once_is_when_redis_is_back(
    fleet: Fleet, redis_server: RedisServer
) -> None:
    """A short absence costs no attempt."""
    worker = await fleet.worker(drain_seconds=0, lease_seconds=60, silence_seconds=50)
    marks = fleet.file()
    job_id = await fleet.submit("t.sleep", {"marks": str(marks)})
    await fleet.running(job_id, marks)
    redis_server.stop()
    worker.send(signal.SIGTERM)
    await eventually(lambda: fleet.ran(marks, "cancelled"), "the task is told")
    redis_server.start()
    assert worker.wait() == 0
    job = await fleet.job(job_id)
    assert (job.status, job.attempt) == (Status.QUEUED, 0)


async def test_a_storm_of_signals_is_a_hasty_leave(fleet: Fleet) -> None:
    """Ten of them break nothing."""
    worker = await fleet.worker(drain_seconds=3600)
    marks = fleet.file()
    jobs = [await fleet.submit("t.sleep", {"marks": str(marks)}) for _ in range(5)]
    await eventually(lambda: len(fleet.ran(marks)) == 5, "all run")
    for number in (signal.SIGTERM, signal.SIGINT) * 5:
        worker.send(number)
    assert worker.wait() == 0
    for job_id in jobs:
        job = await fleet.job(job_id)
        assert (job.status, job.attempt) == (Status.QUEUED, 0)
    assert "Traceback" not in worker.output()


async def test_a_worker_that_starts_can_be_told_to_leave(fleet: Fleet, redis_server: RedisServer) -> None:
    """Before it has reached Redis it has nothing to finish."""
    redis_server.stop()
    worker = fleet.start(redis_wait_seconds=3600, drain_seconds=3600)
    await eventually(lambda: "worker.waits_for_redis" in worker.output(), "it waits")
    worker.send(signal.SIGTERM)
    assert worker.wait() == 0
    assert "Traceback" not in worker.output()


async def test_a_signal_at_any_moment_of_the_start_ends_it(fleet: Fleet) -> None:
    """By the signal while modules are imported, with 0 once it listens to them; never with a trace."""
    for reached in ("", "worker.ready"):
        worker = fleet.start(drain_seconds=3600)
        worker.wait_until(partial(_has_said, worker, reached))
        worker.send(signal.SIGTERM)
        assert worker.wait() in {0, -signal.SIGTERM}
        assert "Traceback" not in worker.output()


def _has_said(worker: Process, text: str) -> bool:
    return text in worker.output()


async def test_what_is_handed_back_waits_for_no_poll_of_a_busy_worker(fleet: Fleet) -> None:
    """A worker whose only slot gets free takes it then."""
    leaving = await fleet.worker(drain_seconds=0)
    marks, busy, go = fleet.file(), fleet.file(), fleet.file()
    job_id = await fleet.submit("t.sleep", {"marks": str(marks)})
    await fleet.running(job_id, marks)
    heir = await fleet.worker(concurrency=1, poll_seconds=3600, queues="own,default")
    other = await fleet.submit("t.wait_for_file", {"marks": str(busy), "go": str(go)}, queue="own")
    await fleet.running(other, busy)
    leaving.send(signal.SIGTERM)
    assert leaving.wait() == 0
    assert fleet.ran(marks) == [leaving.pid]
    go.touch()
    await eventually(lambda: fleet.ran(marks) == [leaving.pid, heir.pid], "it runs elsewhere")


async def test_a_thread_that_a_task_left_behind_does_not_keep_the_worker(fleet: Fleet) -> None:
    """Python would wait for it at its exit; the worker has reported everything and leaves with 0."""
    worker = await fleet.worker(drain_seconds=0, stop_grace_seconds=0)
    marks = fleet.file()
    job_id = await fleet.submit("t.forgotten", {"marks": str(marks)})
    await fleet.running(job_id, marks)
    worker.send(signal.SIGTERM)
    assert worker.wait() == 0
    assert (await fleet.job(job_id)).attempt == 0
