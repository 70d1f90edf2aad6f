"""What the hub asks for when Redis does not have a job."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from milepost.codec import Cursor
from milepost.job import Job


@dataclass(frozen=True, slots=True)
class Recalled:
    """A job as SQL remembers it, when Redis does not have it (any more, or yet)."""

    job: Job
    cursor: Cursor


class Memory(Protocol):
    """What the hub asks when Redis does not know a job."""

    async def recall(self, job_id: str, tenant: str | None = None) -> Recalled | None:
        """Return the job's record; None when there is none, or none of `tenant`.

        May bring an unfinished job (back) to Redis.
        """
