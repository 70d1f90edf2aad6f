"""What task authors are offered, in real workers on a real Redis."""

from __future__ import annotations

import json
import signal
from pathlib import Path

from milepost.job import Status
from tests.support.joblog import state_of
from tests.support.wait import eventually
from tests.support.workers import Fleet

TASKS = "tests.support.tasks.author"


def stood(marks: Path) -> list[str]:
    return marks.read_text("utf-8").splitlines() if marks.exists() else []


async def test_every_attempt_is_given_the_last_checkpoint_of_the_one_before(fleet: Fleet) -> None:
    """Said right before the attempt failed, and coalesced all the while: none of the thousand is an event."""
    await fleet.worker(TASKS)
    job = await fleet.run("t.checkpoint_retry", max_attempts=3)
    assert (job.status, job.attempt, job.result) == (Status.SUCCEEDED, 3, [999, 999])
    events = await fleet.events(job.id)
    assert {one["type"] for one in events} == {"status", "end"}


async def test_a_deploy_hands_the_checkpoint_on(fleet: Fleet) -> None:
    """Also the one that the task said when it was told to leave."""
    leaving = await fleet.worker(TASKS, drain_seconds=0.1)
    marks, go = fleet.file(), fleet.file()
    job_id = await fleet.submit("t.checkpoint_wait", {"marks": str(marks), "go": str(go)})
    await eventually(lambda: stood(marks) == ["ran None"], "the task has begun")
    leaving.send(signal.SIGTERM)
    assert leaving.wait() == 0
    await fleet.worker(TASKS)
    go.touch()
    job = await fleet.ended(job_id)
    assert (job.status, job.attempt, job.result) == (Status.SUCCEEDED, 1, "told to leave")
    assert "told to leave" not in json.dumps((await fleet.events(job_id))[:-1])


async def test_a_checkpoint_that_has_arrived_survives_kill_9(fleet: Fleet) -> None:
    """The next attempt goes on from it."""
    killed = await fleet.worker(TASKS)
    marks, go = fleet.file(), fleet.file()
    job_id = await fleet.submit("t.checkpoint_wait", {"marks": str(marks), "go": str(go)}, max_attempts=2)

    async def arrived() -> bool:
        return await state_of(fleet.redis, job_id, "checkpoint") == '"begun"'

    await eventually(arrived, "the checkpoint has arrived", ignoring=(AttributeError,))
    killed.kill()
    go.touch()
    await fleet.worker(TASKS)
    async with fleet.caretaker():
        job = await fleet.ended(job_id)
    assert (job.status, job.attempt, job.result) == (Status.SUCCEEDED, 2, "begun")


async def test_the_loops_own_threads_report_to_their_job(fleet: Fleet) -> None:
    """`loop.run_in_executor(None, ...)` in a worker carries the context, and loses no count."""
    await fleet.worker(TASKS)
    job = await fleet.run("t.executor")
    assert (job.status, job.progress.current) == (Status.SUCCEEDED, 20)


async def test_a_worker_that_captures_logs_makes_events_of_them(fleet: Fleet) -> None:
    """From the level that its setting names; without the setting, none."""
    silent = await fleet.worker(TASKS)
    job = await fleet.run("t.logging")
    assert [one for one in await fleet.events(job.id) if one["type"] == "log"] == []
    silent.kill()
    await fleet.worker(TASKS, capture_logs_level="info")
    job = await fleet.run("t.logging")
    told = [one for one in await fleet.events(job.id) if one["type"] == "log"]
    said = [(one["level"], one["message"], one["source"]) for one in told]
    assert said == [("info", "order 3", "shop.orders")]


async def test_a_process_of_its_own_has_all_of_it(fleet: Fleet) -> None:
    """Nested bars, records of logging, and counts are those of any other task."""
    await fleet.worker(TASKS, capture_logs_level="info")
    job = await fleet.run("t.process")
    assert (job.status, job.progress.percent) == (Status.SUCCEEDED, 100)
    assert (job.progress.current, job.progress.total, job.progress.unit) == (2, 2, "files")
    assert job.progress.message == "Files"
    told = [one for one in await fleet.events(job.id) if one["type"] == "log"]
    assert [(one["message"], one["source"]) for one in told] == [("half", "shop.orders")] * 2
