"""GET /v1/jobs/{id}/status: the small answer for those who poll, at once or when there is news."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import AfterValidator
from starlette.responses import Response

from milepost.codec import Cursor
from milepost.job import Job, JobError, Json, Progress, Status, Waiting
from milepost.times import utc_now
from milepost_api.hub import place_of
from milepost_api.lookup import Found
from milepost_api.problems import describe
from milepost_api.responses import JsonResponse
from milepost_api.services import JobId, ServicesDep, TenantDep
from milepost_api.views import retry_after_seconds
from milepost_api.waiting import wait_for_change

router = APIRouter(tags=["jobs"])


@dataclass(frozen=True, slots=True)
class JobStatus:
    """What a poller needs. Give `cursor` back as `after` to wait for what follows."""

    id: str
    status: Status | str
    done: bool
    version: int
    cursor: str | None
    attempt: int
    progress: Progress
    queue_position: int | None
    waiting: Waiting | None
    stalled: bool
    error: JobError | None


def _a_cursor(text: str) -> str:
    if Cursor.parse(text) is None:
        raise ValueError("This is no cursor; give back the `cursor` of an earlier answer as it was")
    return text


CursorText = Annotated[str, AfterValidator(_a_cursor)]


@router.get(
    "/jobs/{job_id}/status",
    summary="Poll a job",
    response_class=JsonResponse,
    responses={200: {"model": JobStatus}, **describe("job-not-found", "invalid-request")},
)
async def get_job_status(
    job_id: JobId,
    services: ServicesDep,
    tenant: TenantDep,
    wait: Annotated[
        float,
        Query(ge=0, allow_inf_nan=False, description="Seconds to wait for news; at most a minute."),
    ] = 0,
    after: Annotated[CursorText | None, Query(description="Answer when the job is past this cursor.")] = None,
) -> Response:
    """Return the state of a job in a few fields.

    With `wait` the answer comes when the job has moved past `after` (without `after`: past where it is now),
    when it stands elsewhere in its queue, when it is done, or after that many seconds, whatever it is by then.
    """
    seen = await services.lookup.find(job_id, tenant)
    seconds = min(wait, services.settings.long_poll_seconds_max)
    known = Cursor.parse(after) if after else seen.cursor
    if seconds and not seen.job.done and seen.cursor == known:
        await wait_for_change(services.hub, job_id, known, seconds, place=place_of(seen.job))
        seen = await services.lookup.find(job_id, tenant)
    headers = {} if seen.job.done else {"Retry-After": str(retry_after_seconds(seen.job, utc_now()))}
    return JsonResponse(_wire(seen), headers=headers)


def _wire(seen: Found) -> dict[str, Json]:
    job: Job = seen.job
    return {
        "id": job.id,
        "status": job.status,
        "done": job.done,
        "version": job.version,
        "cursor": str(seen.cursor) if seen.cursor else None,
        "attempt": job.attempt,
        "progress": job.progress.to_wire(),
        "queue_position": job.queue_position,
        "waiting": job.waiting and job.waiting.to_wire(),
        "stalled": job.stalled,
        "error": job.error and job.error.to_wire(),
    }
