"""What a worker makes of tasks: real processes, a real Redis, no API."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest

from milepost.job import ErrorCode, Status
from tests.support.wait import eventually
from tests.support.workers import Fleet


async def test_an_async_task_runs_with_converted_params(shared: Fleet) -> None:
    """Defaults are filled in, the result is the task's."""
    job = await shared.run("t.add", {"a": 1})
    assert (job.status, job.result, job.attempt, job.progress.percent) == (Status.SUCCEEDED, 3, 1, 100.0)
    assert await shared.statuses(job.id) == [("queued", 0), ("running", 1), ("succeeded", 1)]
    assert await shared.leftovers() == []


async def test_a_plain_task_runs_in_a_thread_with_converted_params(shared: Fleet) -> None:
    """Its date is a date, and the result is written as JSON."""
    marks = shared.file()
    job = await shared.run("t.thread", {"day": "2026-01-30", "marks": str(marks)})
    assert job.result == {"next": "2026-01-31", "type": "date"}
    assert len(shared.ran(marks)) == 1


async def test_steps_logs_and_outputs_arrive_in_order(shared: Fleet) -> None:
    """Each is an event, and the bar is at three quarters of its last step when the first is done."""
    job = await shared.run("t.steps")
    events = await shared.events(job.id)
    told = [one["type"] for one in events]
    assert [one for one in told if one != "progress"] == ["status", "status", "log", "output", "end"]
    steps = [
        [(step["key"], step["status"]) for step in one["progress"]["steps"]]
        for one in events
        if one["type"] == "progress"
    ]
    for seen in (
        [("load", "running"), ("save", "pending")],
        [("load", "succeeded"), ("save", "pending")],
        [("load", "succeeded"), ("save", "running")],
        [("load", "succeeded"), ("save", "succeeded")],
    ):
        assert seen in steps
    percents = [one["progress"]["percent"] for one in events if one["type"] == "progress"]
    assert percents == sorted(percents)
    assert events[-1]["progress"]["percent"] == 100


async def test_progress_is_coalesced_and_the_last_value_is_kept(shared: Fleet) -> None:
    """A hot loop makes about ten events a second, and its end knows the last count."""
    seconds = 1.5
    job = await shared.run("t.burst", {"seconds": seconds})
    progress = [one for one in await shared.events(job.id) if one["type"] == "progress"]
    assert 2 <= len(progress) <= seconds * 10 + 2
    counts = [one["progress"]["current"] for one in progress]
    assert all(before < after for before, after in pairwise(counts))
    assert job.result > 1000
    assert job.progress.current == job.result
    assert job.progress.message == f"{job.result} so far"


async def test_thousands_of_outputs_arrive_all_and_in_order(shared: Fleet) -> None:
    """More than may wait at once: the task waits, and nothing is dropped."""
    job = await shared.run("t.talk", {"lines": 1900})
    outputs = [one for one in await shared.events(job.id) if one["type"] == "output"]
    assert [one["data"]["n"] for one in outputs] == [one["index"] for one in outputs] == list(range(1900))


@pytest.mark.parametrize("kind", ["nan", "object"])
async def test_a_result_that_is_not_json_fails_the_job(shared: Fleet, kind: str) -> None:
    """With a sentence, and not as a success."""
    job = await shared.run("t.result", {"kind": kind})
    assert job.status == Status.FAILED
    assert job.error is not None
    assert job.error.code == ErrorCode.SERIALIZATION
    assert "cannot be sent as JSON" in job.error.message


async def test_a_large_result_is_kept_aside(shared: Fleet) -> None:
    """Events stay small; the result can be fetched."""
    job = await shared.run("t.result", {"kind": "large"})
    assert (job.result, job.result_omitted) == (None, True)
    assert await shared.log.result(job.id) == b'"' + b"x" * 20_000 + b'"'


async def test_an_exception_fails_the_job_with_its_type_and_message(shared: Fleet) -> None:
    """Everybody sees what, only operators see where, and the bar stays where it was."""
    job = await shared.run("t.raise", {"kind": "lookup"})
    assert job.status == Status.FAILED
    assert job.error is not None
    assert (job.error.code, job.error.type, job.error.message) == (
        ErrorCode.EXCEPTION,
        "LookupError",
        "no such row",
    )
    assert job.progress.percent == 30
    assert all("Traceback" not in str(one) for one in await shared.events(job.id))
    assert "in raises" in (await shared.log.traceback(job.id) or "")


async def test_an_exception_that_cannot_be_encoded_fails_its_job_and_no_other(shared: Fleet) -> None:
    """A file name that is no UTF-8 is no reason for silence."""
    job = await shared.run("t.raise", {"kind": "surrogate"})
    assert job.error is not None
    assert job.error.message.endswith("'caf\\udce9'")
    assert (await shared.run("t.add", {"a": 1})).result == 3


@pytest.mark.parametrize(("task", "params"), [("t.raise", {"kind": "exit"}), ("t.exit_in_thread", {})])
async def test_a_task_that_exits_ends_its_job_and_not_the_worker(
    shared: Fleet, task: str, params: dict[str, Any]
) -> None:
    """SystemExit is one more exception."""
    job = await shared.run(task, params)
    assert job.error is not None
    assert (job.status, job.error.type) == (Status.FAILED, "SystemExit")
    assert (await shared.run("t.add", {"a": 1})).result == 3


async def test_params_that_do_not_fit_fail_the_job_with_their_place(shared: Fleet) -> None:
    """The API checks them before; a worker with a newer task checks again, and does not try twice."""
    job = await shared.run("t.add", {"a": "many", "c": 1}, max_attempts=3)
    assert job.error is not None
    assert job.attempt == 1
    assert job.error.message.startswith("The params do not fit the task: a: ")
    assert "c: " in job.error.message


# --- ends that are not the task's own ------------------------------------------------------------


async def test_a_timeout_cancels_an_async_task(shared: Fleet) -> None:
    """It may clean up, and the job has failed."""
    marks = shared.file()
    job = await shared.run("t.sleep", {"marks": str(marks)}, timeout_seconds=0.2)
    assert job.error is not None
    assert (job.status, job.error.code) == (Status.FAILED, ErrorCode.TIMEOUT)
    assert job.progress.percent == 10
    assert len(shared.ran(marks, "cancelled")) == 1


async def test_a_timeout_ends_the_job_of_a_thread_that_hears_of_nothing(shared: Fleet) -> None:
    """The thread is left behind, and what it reports when it wakes up is not taken."""
    marks, go = shared.file(), shared.file()
    job = await shared.run("t.deaf", {"marks": str(marks), "go": str(go)}, timeout_seconds=0.2)
    assert job.error is not None
    assert job.error.code == ErrorCode.TIMEOUT
    go.touch()
    await eventually(lambda: shared.ran(marks, "Stopped"), "the thread was stopped at its next report")
    assert await shared.job(job.id) == job
    assert (await shared.run("t.add", {"a": 1})).result == 3


async def test_a_timeout_is_retried_when_attempts_are_left(shared: Fleet) -> None:
    """A TimeoutError is one of the errors to retry on."""
    job = await shared.run("t.sleep", {"marks": str(shared.file())}, timeout_seconds=0.1, max_attempts=2)
    assert await shared.statuses(job.id) == [
        ("queued", 0),
        ("running", 1),
        ("retrying", 1),
        ("running", 2),
        ("failed", 2),
    ]
    assert await shared.leftovers() == []


async def test_a_waiting_job_is_cancelled_at_once(shared: Fleet) -> None:
    """And nothing is left of its delivery."""
    job_id = await shared.submit("t.add", {"a": 1}, delay_ms=60_000)
    assert await shared.log.cancel(job_id) == "cancelled"
    assert (await shared.job(job_id)).status == Status.CANCELLED
    assert await shared.log.cancel(job_id) == "already_done"
    assert await shared.leftovers() == []


async def test_a_running_async_task_is_cancelled_at_its_next_await(shared: Fleet) -> None:
    """It cleans up, and the bar stays where it was."""
    marks = shared.file()
    job_id = await shared.submit("t.sleep", {"marks": str(marks)}, max_attempts=3)
    await shared.running(job_id, marks)
    assert await shared.log.cancel(job_id) == "requested"
    job = await shared.ended(job_id)
    assert job.error is not None
    assert (job.status, job.error.code, job.attempt) == (Status.CANCELLED, ErrorCode.CANCELLED, 1)
    assert len(shared.ran(marks, "cancelled")) == 1
    assert await shared.leftovers() == []


async def test_a_running_thread_is_cancelled_at_its_next_report(shared: Fleet) -> None:
    """No thread is killed; it is told."""
    marks = shared.file()
    job_id = await shared.submit("t.loop", {"marks": str(marks)})
    await shared.running(job_id, marks)
    await shared.log.cancel(job_id)
    assert (await shared.ended(job_id)).status == Status.CANCELLED


async def test_a_task_that_swallows_its_cancellation_is_cancelled_all_the_same(shared: Fleet) -> None:
    """What was asked for is what is told, whatever the task returns."""
    marks = shared.file()
    job_id = await shared.submit("t.stubborn", {"marks": str(marks)})
    await shared.running(job_id, marks)
    await shared.log.cancel(job_id)
    job = await shared.ended(job_id)
    assert (job.status, job.result) == (Status.CANCELLED, None)
    assert len(shared.ran(marks, "swallowed")) == 1


async def test_a_cancel_that_nobody_heard_comes_with_the_next_heartbeat(shared: Fleet) -> None:
    """The message to the worker may be lost; the state is not."""
    marks = shared.file()
    job_id = await shared.submit("t.sleep", {"marks": str(marks)})
    await shared.running(job_id, marks)
    await shared.redis.hset(f"mp:{{{job_id}}}:state", "cancel_requested", "1")  # type: ignore[misc]
    assert (await shared.ended(job_id)).status == Status.CANCELLED


# --- retries and waiting -------------------------------------------------------------------------


async def test_a_failed_attempt_is_followed_by_another_until_none_is_left(shared: Fleet) -> None:
    """Each is announced with the error of the one before."""
    marks = shared.file()
    job = await shared.run("t.fail", {"marks": str(marks)}, max_attempts=3)
    assert len(shared.ran(marks)) == 3
    assert await shared.statuses(job.id) == [
        ("queued", 0),
        ("running", 1),
        ("retrying", 1),
        ("running", 2),
        ("retrying", 2),
        ("running", 3),
        ("failed", 3),
    ]
    retrying = [one for one in await shared.events(job.id) if one.get("status") == "retrying"]
    assert [(one["error"]["attempt"], one["error"]["retryable"]) for one in retrying] == [
        (1, True),
        (2, True),
    ]
    assert await shared.leftovers() == []


async def test_a_later_attempt_may_succeed(shared: Fleet) -> None:
    """And the error of the first is forgotten."""
    job = await shared.run("t.fail", {"marks": str(shared.file()), "until_attempt": 2}, max_attempts=3)
    assert (job.status, job.attempt, job.error) == (Status.SUCCEEDED, 2, None)


async def test_a_wished_delay_is_kept_and_not_outrun(shared: Fleet) -> None:
    """The second attempt begins when it is due: not before, and not a poll later."""
    job = await shared.run("t.later", {"marks": str(shared.file()), "after": 0.7}, max_attempts=2)
    assert 0.7 <= job.result < 0.7 + 0.4
    retrying = next(one for one in await shared.events(job.id) if one.get("status") == "retrying")
    assert retrying["run_at"] is not None


async def test_a_delayed_job_begins_on_time(shared: Fleet) -> None:
    """Within a fraction of the polling interval, by Redis's clock."""
    job = await shared.run("t.add", {"a": 1}, delay_ms=800)
    first, running = (await shared.events(job.id))[:2]
    assert (first["status"], running["status"]) == ("scheduled", "running")
    due = datetime.fromisoformat(first["run_at"])
    begun = datetime.fromisoformat(running["at"])
    assert timedelta(0) <= begun - due < timedelta(seconds=0.4)


async def test_a_hundred_jobs_each_run_once(shared: Fleet) -> None:
    """More than there are slots."""
    marks = shared.file()
    ids = [await shared.submit("t.thread", {"day": "2026-01-01", "marks": str(marks)}) for _ in range(100)]
    jobs = await asyncio.gather(*(shared.ended(job_id) for job_id in ids))
    assert {job.status for job in jobs} == {Status.SUCCEEDED}
    assert len(shared.ran(marks)) == 100
    assert await shared.leftovers() == []


async def test_a_flush_of_the_scripts_is_not_noticed(shared: Fleet) -> None:
    """Neither by the claim nor by the reports under way."""
    marks, go = shared.file(), shared.file()
    job_id = await shared.submit("t.wait_for_file", {"marks": str(marks), "go": str(go)})
    await shared.running(job_id, marks)
    await shared.redis.script_flush()
    seen = (await shared.job(job_id)).version
    await shared.until(job_id, lambda job: job.version > seen + 1, "goes on reporting")
    go.touch()
    assert (await shared.ended(job_id)).status == Status.SUCCEEDED
    await shared.redis.script_flush()
    assert (await shared.run("t.add", {"a": 1})).result == 3
    await shared.events(job_id)
