"""Why a job waits: what the workers that are there mean for it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from milepost_api.roster import explained

from milepost.job import Job
from milepost.log import RunningJob, WorkerInfo


def worker(**given: Any) -> WorkerInfo:
    fields: dict[str, Any] = {
        "id": "w",
        "host": "h",
        "pid": 1,
        "version": "0",
        "queues": ["default"],
        "tasks": ["count"],
        "concurrency": 2,
        "started_at": "2026-11-21T08:00:00.000Z",
    }
    return WorkerInfo(**(fields | given))


def runs(count: int, task: str = "other") -> list[RunningJob]:
    return [RunningJob(id=str(n), task=task) for n in range(count)]


def waits(position: int = 1, queue: str = "default") -> Job:
    return Job(id="J", task="count", queue=queue, queue_position=position)


@pytest.mark.parametrize(
    ("workers", "reason", "position"),
    [
        ([], "no_worker_for_queue", 3),
        ([worker(queues=["video"])], "no_worker_for_queue", 3),
        ([worker(state="draining")], "no_worker_for_queue", 3),
        ([worker(running=runs(2)), worker(state="draining", concurrency=9)], "workers_busy", 3),
        ([worker(tasks=["other"])], "no_worker_for_task", None),
        ([worker(tasks=["other"]), worker(queues=["video"])], "no_worker_for_task", None),
        ([worker(running=runs(2))], "workers_busy", 3),
        ([worker(), worker(tasks=["other"], concurrency=9)], "workers_busy", 3),
        ([worker(running=runs(1)), worker()], None, 3),
        ([worker(concurrency=9, limits={"count": 2}, running=runs(2, "count"))], "workers_busy", 3),
        ([worker(concurrency=9, limits={"count": 4, "other": 0}, running=runs(1, "count"))], None, 3),
        ([worker(running=runs(3)), worker(concurrency=3)], None, 3),
    ],
)
def test_the_reason_is_the_first_thing_that_is_missing(
    workers: Sequence[WorkerInfo], reason: str | None, position: int | None
) -> None:
    """A worker on the queue, then one that knows the task, then a slot; nothing missing is no reason."""
    job = explained(waits(3), workers)
    assert (job.waiting and job.waiting.reason, job.queue_position) == (reason, position)


@pytest.mark.parametrize(
    ("job", "workers", "sentence"),
    [
        (
            waits(queue="video"),
            [],
            "No worker listens on the queue 'video'; start one with `milepost worker MODULE --queue video`.",
        ),
        (waits(), [], "No worker listens on the queue 'default'; start one with `milepost worker MODULE`."),
        (
            waits(),
            [worker(tasks=["other"])],
            (
                "No worker on the queue 'default' offers the task 'count'; "
                "start one that does with `milepost worker MODULE`."
            ),
        ),
        (
            waits(),
            [worker(concurrency=0)],
            "The worker that can take it is busy; with more of them it would begin sooner.",
        ),
        (
            waits(),
            [worker(concurrency=0), worker(concurrency=0)],
            "All 2 workers that can take it are busy; with more of them it would begin sooner.",
        ),
    ],
)
def test_the_message_says_what_to_do(job: Job, workers: Sequence[WorkerInfo], sentence: str) -> None:
    """A sentence with a command to type where a command helps."""
    waiting = explained(job, workers).waiting
    assert waiting is not None
    assert waiting.message == sentence
