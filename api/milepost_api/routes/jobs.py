"""GET /v1/jobs/{id}, POST /v1/jobs/{id}/cancel."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from fastapi import APIRouter, Header
from starlette.responses import Response

from milepost.errors import JobNotFound
from milepost.times import utc_now
from milepost_api.lookup import redis_answers
from milepost_api.problems import describe
from milepost_api.records import new_job
from milepost_api.responses import JsonResponse
from milepost_api.services import JobId, RootPath, Services, ServicesDep, TenantDep
from milepost_api.views import JobResource, job_wire, retry_after_seconds

router = APIRouter(tags=["jobs"])


@dataclass(frozen=True, slots=True)
class Cancellation:
    """`cancelled`: it ended at once. `requested`: its worker was asked. `already_done`: nothing changed."""

    id: str
    outcome: Literal["cancelled", "requested", "already_done"]


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
