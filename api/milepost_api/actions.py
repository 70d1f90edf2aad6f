"""What can be done to jobs that are there: cancel them, delete them, find what may be done again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import structlog

from milepost.errors import JobNotFound, StoreUnavailable
from milepost.job import Status
from milepost.log import many
from milepost.log.peek import peek
from milepost.times import rfc3339
from milepost_api.lookup import redis_answers
from milepost_api.problems import Problem
from milepost_api.records import JobRecord
from milepost_api.services import Services

DeleteOutcome = Literal["deleted", "not_done", "not_found"]
log = structlog.get_logger()


async def cancel(services: Services, job_id: str, tenant: str) -> str:
    """Cancel a job and say what it did. Raises `JobNotFound`."""
    async with redis_answers(services.settings.redis_answer_seconds):
        try:
            return await services.log.cancel(job_id, tenant=tenant)
        except JobNotFound:
            pass  # accepted and not there yet, forgotten there, or never heard of: the records know
    record = await services.store.find(job_id, tenant)
    if record is None:
        raise JobNotFound
    if record.done:
        return "already_done"
    async with redis_answers(services.settings.redis_answer_seconds):
        await services.revival.bring([job_id])  # so that its history has its end, like every other
        try:
            return await services.log.cancel(job_id)
        except JobNotFound as error:
            raise StoreUnavailable(
                "Redis has lost this job and cannot take it back yet; try again shortly."
            ) from error


async def finished(services: Services, job_id: str, tenant: str) -> JobRecord:
    """Return the record of a job that has ended. Raises `JobNotFound`, and `Problem` for one that has not."""
    seen = await services.lookup.find(job_id, tenant)
    if not seen.job.done:
        raise _not_finished(
            seen.job.status, "It can be done again when it has ended; cancel it to end it now."
        )
    record = await services.store.find(job_id, tenant)
    if record is None:
        raise JobNotFound  # deleted since
    return record


async def delete(services: Services, job_id: str, tenant: str) -> None:
    """Forget a finished job. Raises `JobNotFound`, and `Problem` for one that has not ended."""
    [outcome] = await delete_all(services, [job_id], tenant)
    if outcome == "not_found":
        raise JobNotFound
    if outcome == "not_done":
        status = (await services.lookup.find(job_id, tenant)).job.status
        raise _not_finished(status, "Cancel it first, and delete it when it has ended.")


async def delete_all(services: Services, job_ids: Sequence[str], tenant: str) -> list[DeleteOutcome]:
    """Forget those of these jobs that have ended, and say of each what was done.

    First the record, then the log: a job that the log does not have is brought back to it as long as its record says
    that it is not done. Killed in between, the job is deleted by the next try, or when its time in the log is over.
    """
    known = await _ends(services, job_ids, tenant)
    ended = {job_id: end.created_at for job_id, end in known.items() if end.done}
    await services.store.delete(ended, tenant)
    async with redis_answers(services.settings.redis_answer_seconds):
        outcomes = await many.forget(services.log, ended)
    for job_id, outcome in zip(ended, outcomes, strict=True):
        if outcome == "living":
            log.warning("redis had lost the end of a job that was deleted", job_id=job_id)
    return [
        "deleted" if job_id in ended else "not_done" if job_id in known else "not_found" for job_id in job_ids
    ]


@dataclass(frozen=True, slots=True)
class _End:
    done: bool
    created_at: str | None


async def _ends(services: Services, job_ids: Sequence[str], tenant: str) -> dict[str, _End]:
    """Return which of these jobs there are, and whether each has ended: as the log says, if it has the job."""
    outlines = await services.store.outlines(job_ids, tenant)
    found = {one.id: _End(one.done, rfc3339(one.created_at)) for one in outlines}
    async with redis_answers(services.settings.redis_answer_seconds):
        live = await peek(services.redis, job_ids, tenant=tenant)
    return found | {one.job.id: _End(one.job.done, one.job.created_at) for one in live if one is not None}


def _not_finished(status: Status | str, hint: str) -> Problem:
    return Problem("not-ready", f"The job is {status}. {hint}", job_status=status)
