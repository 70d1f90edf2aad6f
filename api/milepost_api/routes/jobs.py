"""GET /v1/jobs, GET /v1/jobs/{id}, POST /v1/jobs/{id}/cancel."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from fastapi import APIRouter, Header, Query
from pydantic import AwareDatetime
from pydantic import StringConstraints as Text
from starlette.responses import Response

from milepost.errors import JobNotFound
from milepost.ids import JOB_ID
from milepost.job import Status
from milepost.times import utc_now
from milepost_api.lookup import redis_answers
from milepost_api.problems import describe
from milepost_api.records import JobFilter, new_job
from milepost_api.responses import JsonResponse
from milepost_api.services import JobId, RootPath, Services, ServicesDep, TenantDep
from milepost_api.views import JobResource, job_wire, retry_after_seconds

router = APIRouter(tags=["jobs"])

Word = Annotated[str, Text(min_length=1, max_length=200, pattern=r"^[^\x00-\x1f\x7f]+$")]
PageCursor = Annotated[str, Text(pattern=f"^{JOB_ID.pattern}$")]


@dataclass(frozen=True, slots=True)
class JobPage:
    """One page of jobs; `next_cursor` asks for the next one and is null on the last."""

    items: list[JobResource]
    next_cursor: str | None


@dataclass(frozen=True, slots=True)
class Cancellation:
    """`cancelled`: it ended at once. `requested`: its worker was asked. `already_done`: nothing changed."""

    id: str
    outcome: Literal["cancelled", "requested", "already_done"]


@router.get(
    "/jobs",
    summary="List jobs",
    response_class=JsonResponse,
    responses={200: {"model": JobPage}, **describe("invalid-request")},
)
async def list_jobs(
    services: ServicesDep,
    root_path: RootPath,
    status: Annotated[list[Status] | None, Query(description="May be given several times.")] = None,
    task: Word | None = None,
    queue: Word | None = None,
    tag: Word | None = None,
    created_after: AwareDatetime | None = None,
    created_before: AwareDatetime | None = None,
    q: Annotated[
        Word | None, Query(description="Text in task, tags, metadata or error; or a whole id.")
    ] = None,
    order: Literal["newest", "oldest"] = "newest",
    limit: Annotated[int, Query(ge=1, description="At most MILEPOST_PAGE_LIMIT_ITEMS are given.")] = 50,
    cursor: PageCursor | None = None,
) -> Response:
    """List jobs, newest first. Jobs that are not done show their state of this moment."""
    most = min(limit, services.settings.page_limit_items)
    wanted = JobFilter(
        statuses=tuple(status or ()),
        task=task,
        queue=queue,
        tag=tag,
        created_after=created_after,
        created_before=created_before,
        text=q,
        oldest_first=order == "oldest",
        after_id=cursor,
    )
    records = await services.store.page(wanted, limit=most + 1)  # one more tells whether a page follows
    jobs = await services.lookup.overlay(records[:most])
    # The records are a moment behind: a job that has left the wanted status since is not shown.
    shown = [job for job in jobs if not status or job.status in status]
    following = records[most - 1].id if len(records) > most else None
    return JsonResponse({"items": [job_wire(root_path, job) for job in shown], "next_cursor": following})


@router.get(
    "/jobs/{job_id}",
    summary="Get a job",
    response_class=JsonResponse,
    responses={
        200: {"model": JobResource},
        304: {"description": "Unchanged since the version of `If-None-Match`."},
        **describe("job-not-found"),
    },
)
async def get_job(
    job_id: JobId,
    services: ServicesDep,
    tenant: TenantDep,
    root_path: RootPath,
    if_none_match: Annotated[str | None, Header()] = None,
) -> Response:
    """Return the whole job; never behind an event that was already seen."""
    seen = await services.lookup.find(job_id, tenant)
    headers = {"ETag": seen.etag}
    if not seen.job.done:
        headers["Retry-After"] = str(retry_after_seconds(seen.job, utc_now()))
    if _matches(if_none_match, seen.etag):
        return Response(status_code=304, headers={**headers, "Cache-Control": "private, no-cache"})
    return JsonResponse(job_wire(root_path, seen.job), headers=headers)


@router.post(
    "/jobs/{job_id}/cancel",
    summary="Cancel a job",
    response_class=JsonResponse,
    responses={200: {"model": Cancellation}, **describe("job-not-found")},
)
async def cancel_job(job_id: JobId, services: ServicesDep, tenant: TenantDep) -> Response:
    """Cancel a waiting job at once, or ask the worker of a running one to stop. May be repeated."""
    return JsonResponse({"id": job_id, "outcome": await _cancel(services, job_id, tenant)})


async def _cancel(services: Services, job_id: str, tenant: str) -> str:
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
        await services.log.create(new_job(record))  # so that its history has its end, like every other
        return await services.log.cancel(job_id)


def _matches(header: str | None, etag: str) -> bool:
    if header is None:
        return False
    weak = etag.removeprefix("W/")
    return any(one.strip().removeprefix("W/") in (weak, "*") for one in header.split(","))
