"""`@task(concurrency=N)`: at most so many at once in one worker, and nobody else waits for them."""

from __future__ import annotations

import signal
from pathlib import Path

from milepost.job import Status
from tests.support.wait import eventually
from tests.support.workers import Fleet


def said(marks: Path) -> list[str]:
    return [line.split()[0] for line in marks.read_text("utf-8").splitlines()] if marks.exists() else []


async def test_a_task_at_its_limit_runs_one_after_the_other_and_holds_nobody_up(fleet: Fleet) -> None:
    """No poll helps here: a submission, and the end of the one before, wake the worker."""
    await fleet.worker(concurrency=4, poll_seconds=3600)
    marks, go = fleet.file(), fleet.file()
    alone = [await fleet.submit("t.alone", {"marks": str(marks), "go": str(go)}) for _ in range(5)]
    assert (await fleet.run("t.add", {"a": 1})).result == 3
    await eventually(lambda: said(marks), "one runs")
    assert said(marks) == ["begun"]
    go.touch()
    for job_id in alone:
        assert (await fleet.ended(job_id)).status == Status.SUCCEEDED
    assert said(marks) == ["begun", "ended"] * 5
    assert await fleet.leftovers() == []


async def test_the_limit_holds_over_all_queues_of_the_worker(fleet: Fleet) -> None:
    """The queue with priority has the next turn."""
    await fleet.worker(queues="high,low", concurrency=4)
    marks, go = fleet.file(), fleet.file()
    params = {"marks": str(marks), "go": str(go)}
    first = await fleet.submit("t.alone", params, queue="low")
    await fleet.running(first)
    await eventually(lambda: said(marks), "the task has begun")
    low = await fleet.submit("t.alone", params, queue="low")
    high = await fleet.submit("t.alone", params, queue="high")
    assert (await fleet.run("t.add", {"a": 1}, queue="low")).result == 3
    assert said(marks) == ["begun"]
    go.touch()
    begun = [(await fleet.ended(job_id)).started_at for job_id in (high, low)]
    assert said(marks) == ["begun", "ended"] * 3
    assert None not in begun
    assert begun == sorted(begun, key=str)


async def test_two_workers_run_one_each(fleet: Fleet) -> None:
    """The limit is that of a worker."""
    workers = [await fleet.worker(), await fleet.worker()]
    marks, go = fleet.file(), fleet.file()
    alone = [await fleet.submit("t.alone", {"marks": str(marks), "go": str(go)}) for _ in range(3)]
    await eventually(lambda: len(said(marks)) == 2, "two run")
    assert {*fleet.ran(marks, "begun")} == {worker.pid for worker in workers}
    go.touch()
    for job_id in alone:
        await fleet.ended(job_id)


async def test_what_waits_for_its_turn_stays_in_the_queue_of_a_worker_that_leaves(fleet: Fleet) -> None:
    """The one that runs finishes; the next one begins elsewhere."""
    leaving = await fleet.worker(drain_seconds=3600)
    marks, go = fleet.file(), fleet.file()
    params = {"marks": str(marks), "go": str(go)}
    running = await fleet.submit("t.alone", params)
    await fleet.running(running)
    await eventually(lambda: said(marks), "the task has begun")
    waiting = await fleet.submit("t.alone", params)
    leaving.send(signal.SIGTERM)
    await eventually(lambda: "worker.drains" in leaving.output(), "it drains")
    go.touch()
    assert leaving.wait() == 0
    assert (await fleet.job(running)).status == Status.SUCCEEDED
    assert (await fleet.job(waiting)).status == Status.QUEUED
    await fleet.worker()
    assert (await fleet.ended(waiting)).attempt == 1


async def test_a_queue_with_priority_is_always_first_and_the_other_gets_what_is_left(fleet: Fleet) -> None:
    """Whatever is older or more urgent; idle slots belong to everybody."""
    marks, go = fleet.file(), fleet.file()
    given = {name: {"marks": str(marks), "name": name} for name in ("high", "low")}
    low = [await fleet.submit("t.order", given["low"], queue="b", priority=10) for _ in range(8)]
    high = [await fleet.submit("t.order", given["high"], queue="a") for _ in range(8)]
    hold = await fleet.submit("t.wait_for_file", {"marks": str(fleet.file()), "go": str(go)}, queue="a")
    await fleet.worker(queues="a,b", concurrency=2)
    for job_id in [*high, *low]:
        assert (await fleet.ended(job_id)).status == Status.SUCCEEDED
    assert said(marks) == ["high"] * 8 + ["low"] * 8
    assert (await fleet.job(hold)).status == Status.RUNNING  # `a` is not empty, and `b` was served
    go.touch()
    assert (await fleet.ended(hold)).status == Status.SUCCEEDED
