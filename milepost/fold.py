"""State is what is left after folding events: one pure function, the same in Python and JavaScript."""

from __future__ import annotations

from dataclasses import replace

from milepost.events import (
    Ended,
    Event,
    Progressed,
    Snapshot,
    Stalled,
    StatusChanged,
    StillWaiting,
)
from milepost.job import NO_PROGRESS, WAITING, Job, Status


def fold(job: Job, event: Event | StillWaiting) -> Job:
    """Return `job` after `event`.

    A snapshot replaces everything. An event at or before the job's `version` is a duplicate and changes
    nothing; neither does anything after the end: a late report must not reopen a closed job. `waiting` has no
    place in the history: it counts while the job waits, until the next `status` or `end`.
    """
    if isinstance(event, Snapshot):
        return event.job
    if isinstance(event, StillWaiting):
        return _waits(job, event) if job.status in WAITING else job
    if job.done or event.seq <= job.version:
        return job
    return replace(_apply(job, event), version=event.seq)


def _waits(job: Job, event: StillWaiting) -> Job:
    return replace(job, queue_position=event.queue_position, waiting=event.waiting)


def _apply(job: Job, event: Event) -> Job:
    match event:
        case StatusChanged(status=Status.RUNNING, attempt=attempt) if attempt > job.attempt:
            # A new attempt begins at nothing: percent is monotonic within an attempt, not across them.
            return replace(
                job,
                status=Status.RUNNING,
                attempt=attempt,
                progress=NO_PROGRESS,
                queue_position=None,
                waiting=None,
                started_at=job.started_at or event.at,
                run_at=None,
                error=None,
                stalled=False,
                cancel_requested=event.cancel_requested,
            )
        case StatusChanged():
            return replace(
                job,
                status=event.status,
                attempt=event.attempt,
                queue_position=None,
                waiting=None,
                run_at=event.run_at,
                error=event.error,
                stalled=False,
                cancel_requested=event.cancel_requested,
            )
        case Progressed(attempt=attempt) if attempt >= job.attempt:
            return replace(job, progress=event.progress)
        case Stalled():
            return replace(job, stalled=not event.recovered)
        case Ended():
            return replace(
                job,
                status=event.status,
                done=True,
                attempt=event.attempt,
                progress=event.progress,
                queue_position=None,
                waiting=None,
                result=event.result,
                result_omitted=event.result_omitted,
                error=event.error,
                run_at=None,
                stalled=False,
                finished_at=event.finished_at or event.at,
            )
        case _:
            return job
