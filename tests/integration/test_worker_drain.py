"""How a worker leaves: jobs finish or are handed back, and no deploy costs an attempt."""

from __future__ import annotations

import signal
import time

import pytest

from milepost.job import Status
from milepost.log import Catalogue
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
