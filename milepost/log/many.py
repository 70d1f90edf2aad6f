"""What is done to many jobs at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Literal, cast

from milepost.job import Status, parse_status
from milepost.log.calls import job_call
from milepost.log.keys import state_key

if TYPE_CHECKING:
    from redis.asyncio import Redis

    from milepost.log.joblog import JobLog
    from milepost.log.shapes import CancelOutcome

ForgetOutcome = Literal["forgotten", "gone", "living"]

REMEMBERED_MS = 120_000
"""Whoever read a job's record before it was deleted has let go of it by then, however long Redis stood still."""


async def forget(joblog: JobLog, created_at: Mapping[str, str | None]) -> list[ForgetOutcome]:
    """Forget jobs that have ended: what they are, their histories, their results. Says of each what it did.

    `created_at` names the moment of each job by its id. One that is `living` was left as it is; one that was `gone`
    had been forgotten already; a job of another moment that has its id now stays. None of them comes back, whoever
    may still want to bring it here.
    """
    calls = [
        job_call("forget", job_id, at or "", REMEMBERED_MS, result=True) for job_id, at in created_at.items()
    ]
    return [cast("ForgetOutcome", reply.decode()) for reply in await joblog.call_all(calls)]


async def cancel(joblog: JobLog, job_ids: Sequence[str], tenant: str | None) -> list[CancelOutcome | None]:
    """Cancel each as `JobLog.cancel` does; None for those that are not there."""
    calls = [joblog.cancellation(job_id, tenant) for job_id in job_ids]
    replies = await joblog.call_all(calls)
    return [None if reply == b"gone" else cast("CancelOutcome", reply.decode()) for reply in replies]


async def statuses(redis: Redis, job_ids: Sequence[str]) -> list[Status | str | None]:
    """Return where each job stands, None where there is none: one round trip."""
    if not job_ids:
        return []
    async with redis.pipeline(transaction=False) as pipe:
        for job_id in job_ids:
            pipe.hget(state_key(job_id), "status")
        found = await pipe.execute()
    return [status and parse_status(status.decode()) for status in found]
