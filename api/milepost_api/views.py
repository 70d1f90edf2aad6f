"""How a job looks from outside: the contract's job, and where to go from it."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from milepost.events import INLINE_RESULT_BYTES
from milepost.job import Job, Json, Status
from milepost_api.records import JobRecord
from milepost_api.times import from_rfc3339, rfc3339

RETRY_AFTER_MOST_SECONDS = 60


@dataclass(frozen=True, slots=True)
class Urls:
    """Where a job can be read and cancelled, relative to the server."""

    self: str
    status: str
    stream: str
    result: str
    events: str
    cancel: str


@dataclass(frozen=True, slots=True, kw_only=True)
class JobResource(Job):
    """A job as the API shows it."""

    urls: Urls


def urls_of(root_path: str, job_id: str) -> dict[str, str]:
    """Return the addresses of a job. Relative: behind a proxy the server does not know its own name."""
    here = f"{root_path}/v1/jobs/{job_id}"
    return {
        "self": here,
        "status": f"{here}/status",
        "stream": f"{here}/status/stream",
        "result": f"{here}/result",
        "events": f"{here}/events",
        "cancel": f"{here}/cancel",
    }


def job_wire(root_path: str, job: Job) -> dict[str, Json]:
    """Return the job as JSON, with where to go from it."""
    return job.to_wire() | {"urls": urls_of(root_path, job.id)}


def job_of(record: JobRecord) -> Job:
    """Return the job as its record has it."""
    large = record.result is not None and len(record.result) > INLINE_RESULT_BYTES
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
            "batch_id": record.batch_id,
            "parent_id": record.parent_id,
            **_moments(record),
        }
    )


def retry_after_seconds(job: Job, now: datetime) -> int:
    """Return how long a poller should wait: until the job is due at most, and never long."""
    if job.status == Status.SCHEDULED and job.run_at:
        wait = (from_rfc3339(job.run_at) - now).total_seconds()
        return min(max(1, math.ceil(wait)), RETRY_AFTER_MOST_SECONDS)
    return 1


def _moments(record: JobRecord) -> Mapping[str, str | None]:
    names = ("created_at", "run_at", "started_at", "finished_at", "expires_at")
    values = {name: getattr(record, name) for name in names}
    return {name: rfc3339(value) if value else None for name, value in values.items()}


def _parsed(text: str | None) -> Any:
    return None if text is None else json.loads(text)
