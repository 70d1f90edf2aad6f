"""How a job looks from outside: the contract's job, and where to go from it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import datetime

from milepost.job import Job, Json, Status
from milepost.times import parse

RETRY_AFTER_MOST_SECONDS = 60
RESERVED_IDS = frozenset({"counts", "cancel", "retry", "delete"})
"""What stands in the place of an id in other addresses."""


@dataclass(frozen=True, slots=True)
class Urls:
    """Where a job can be read, cancelled and done again, relative to the server."""

    self: str
    status: str
    stream: str
    result: str
    events: str
    cancel: str
    retry: str


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
        "retry": f"{here}/retry",
    }


def job_wire(root_path: str, job: Job) -> dict[str, Json]:
    """Return the job as JSON."""
    return job.to_wire() | {"urls": urls_of(root_path, job.id)}


def retry_after_seconds(job: Job, now: datetime) -> int:
    """Return how long a poller should wait: until the job is due at most, and never long."""
    if job.status == Status.SCHEDULED and job.run_at:
        wait = (parse(job.run_at) - now).total_seconds()
        return min(max(1, math.ceil(wait)), RETRY_AFTER_MOST_SECONDS)
    return 1
