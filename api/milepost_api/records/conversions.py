"""A record as the rest of Milepost knows jobs: to show it, and to hand it to the log."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from milepost.events import INLINE_RESULT_BYTES
from milepost.job import ErrorCode, Job, JobError, Status
from milepost.log import NewJob
from milepost.times import rfc3339
from milepost_api.records.table import JobRecord

BEGUN = frozenset({Status.RUNNING, Status.RETRYING})


def job_of(record: JobRecord) -> Job:
    """Return the job as its record has it."""
    large = _is_large(record)
    return Job.from_wire(
        {
            "id": record.id,
            "task": record.task,
            "status": record.status,
            "done": record.done,
            "version": record.version,
            "attempt": record.attempt,
            "max_attempts": record.max_attempts,
            "queue": record.queue,
            "priority": record.priority,
            "tags": record.tags,
            "metadata": record.meta,
            "progress": record.progress,
            "result": None if large else _parsed(record.result),
            "result_omitted": large,
            "error": record.error,
            "cancel_requested": record.cancel_requested,
            "batch_id": record.batch_id,
            "parent_id": record.parent_id,
            "retry_of": record.retry_of,
            **_moments(record),
        }
    )


def new_job(record: JobRecord) -> NewJob:
    """Return what the log needs of a record, at submit time or when it has lost the job.

    A job that was begun is not begun anew: its attempts count. One that was asked to stop is not begun at all.
    """
    return NewJob(
        id=record.id,
        task=record.task,
        params=record.params,
        queue=record.queue,
        priority=record.priority,
        max_attempts=record.max_attempts,
        timeout_seconds=record.timeout_seconds,
        tags=record.tags,
        metadata=record.meta,
        created_at=rfc3339(record.created_at),
        due_ms=None if record.run_at is None else round(record.run_at.timestamp() * 1000),
        batch_id=record.batch_id,
        parent_id=record.parent_id,
        attempt=record.attempt,
        error=_last_error(record),
        started_at=rfc3339(record.started_at) if record.started_at else None,
        cancel_requested=record.cancel_requested,
        retry_of=record.retry_of,
        tenant=record.tenant,
    )


def _is_large(record: JobRecord) -> bool:
    """Whether the result is too long to be shown, or was, and was lost before it could be recorded: a null is text."""
    if record.result is None:
        return record.status == Status.SUCCEEDED
    return len(record.result) > INLINE_RESULT_BYTES


def _last_error(record: JobRecord) -> JobError | None:
    if record.status == Status.RETRYING and record.error:
        return JobError.from_wire(record.error)  # the attempt had failed before Redis lost its successor
    if record.status not in BEGUN:
        return None
    left = record.attempt < record.max_attempts
    follows = "another attempt follows" if left else "no attempts are left"
    message = f"Redis lost this job while it was {record.status}; {follows}."
    return JobError(code=ErrorCode.LOST, message=message, attempt=record.attempt, retryable=left)


def _moments(record: JobRecord) -> Mapping[str, str | None]:
    names = ("created_at", "run_at", "started_at", "finished_at", "expires_at")
    values = {name: getattr(record, name) for name in names}
    return {name: rfc3339(value) if value else None for name, value in values.items()}


def _parsed(text: str | None) -> Any:
    return None if text is None else json.loads(text)
