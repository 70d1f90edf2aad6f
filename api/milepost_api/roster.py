"""Who is there to take jobs, and what that means for a job that waits."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace

from milepost.job import Job, Waiting, WaitingReason
from milepost.log import Catalogue, WorkerInfo
from milepost_api.kept import Kept

FRESH_SECONDS, USABLE_SECONDS = 1.0, 2.0
"""Older than the first it is renewed, older than the second it is waited for. Of the 10 s in which a reader hears that
the last worker has died (see hub.Times)."""


class Roster:
    """The workers that announce themselves, as they were a moment ago."""

    def __init__(
        self, catalogue: Catalogue, *, answer_seconds: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._kept = Kept(catalogue.workers, clock=clock, answer_seconds=answer_seconds)

    async def workers(self) -> Sequence[WorkerInfo]:
        """Return them as they were at most a second ago. Raises what Redis raises when it is away."""
        return await self._kept.at_most(FRESH_SECONDS)

    async def explain(self, jobs: Sequence[Job]) -> list[Job]:
        """Return the jobs; those that stand in their queue say what they wait for."""
        if all(job.queue_position is None for job in jobs):
            return list(jobs)
        workers = await self._kept.at_most(FRESH_SECONDS, usable_seconds=USABLE_SECONDS)
        return [job if job.queue_position is None else explained(job, workers) for job in jobs]


def takes_jobs(worker: WorkerInfo) -> bool:
    """Whether it takes jobs at all: one that drains does not."""
    return worker.state != "draining"


def explained(job: Job, workers: Sequence[WorkerInfo]) -> Job:
    """Return a job that stands in its queue with the reason why it has not been begun.

    One that no worker can take has no position: those behind it are taken before it.
    """
    listening = [worker for worker in workers if job.queue in worker.queues and takes_jobs(worker)]
    if not listening:
        return replace(job, waiting=_no_worker_for_queue(job))
    able = [worker for worker in listening if job.task in worker.tasks]
    if not able:
        return replace(job, queue_position=None, waiting=_no_worker_for_task(job))
    free = sum(_free(worker, job.task) for worker in able)
    if job.queue_position is None or job.queue_position <= free:
        return job  # it is about to be taken
    return replace(job, waiting=_workers_busy(len(able)))


def _free(worker: WorkerInfo, task: str) -> int:
    """Return how many attempts of `task` the worker could begin now."""
    free = worker.concurrency - len(worker.running)
    if task in worker.limits:
        free = min(free, worker.limits[task] - sum(one.task == task for one in worker.running))
    return max(0, free)


def _no_worker_for_queue(job: Job) -> Waiting:
    return Waiting(
        reason=WaitingReason.NO_WORKER_FOR_QUEUE,
        message=f"No worker listens on the queue {job.queue!r}; start one with `{_command(job)}`.",
    )


def _no_worker_for_task(job: Job) -> Waiting:
    return Waiting(
        reason=WaitingReason.NO_WORKER_FOR_TASK,
        message=f"No worker on the queue {job.queue!r} offers the task {job.task!r}; "
        f"start one that does with `{_command(job)}`.",
    )


def _workers_busy(able: int) -> Waiting:
    who = "The worker that can take it is" if able == 1 else f"All {able} workers that can take it are"
    return Waiting(
        reason=WaitingReason.WORKERS_BUSY, message=f"{who} busy; with more of them it would begin sooner."
    )


def _command(job: Job) -> str:
    return "milepost worker MODULE" + ("" if job.queue == "default" else f" --queue {job.queue}")
