"""GET and DELETE /v1/jobs/{id}, POST /v1/jobs/{id}/cancel and /retry."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from fastapi import APIRouter, Header
from pydantic import BaseModel, ConfigDict
from starlette.responses import Response

from milepost.times import utc_now
from milepost_api import actions
from milepost_api.problems import describe
from milepost_api.responses import JsonResponse
from milepost_api.routes.submit import ACCEPTED, REFUSED, Accept, IdempotencyKey, Prefer, answer
from milepost_api.services import JobId, RootPath, ServicesDep, TenantDep
from milepost_api.views import JobResource, job_wire, retry_after_seconds

router = APIRouter(tags=["jobs"])


@dataclass(frozen=True, slots=True)
class Cancellation:
    """`cancelled`: it ended at once. `requested`: its worker was asked. `already_done`: nothing changed."""

    id: str
    outcome: Literal["cancelled", "requested", "already_done"]


class Retry(BaseModel):
    """How to do a job again. It is as it was submitted, but for its delay."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    allow_unknown_task: bool = False


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
    return JsonResponse({"id": job_id, "outcome": await actions.cancel(services, job_id, tenant)})


@router.post(
    "/jobs/{job_id}/retry",
    summary="Do a job again",
    response_class=JsonResponse,
    status_code=202,
    responses={
        **ACCEPTED,
        **describe("job-not-found", "not-ready", *REFUSED, "idempotency-mismatch"),
    },
)
async def retry_job(
    job_id: JobId,
    services: ServicesDep,
    tenant: TenantDep,
    root_path: RootPath,
    how: Retry | None = None,
    idempotency_key: IdempotencyKey = None,
    prefer: Prefer = None,
    accept: Accept = "",
) -> Response:
    """Submit what a finished job did as a new job, to be run at once; `retry_of` says which job it does again.

    With an `Idempotency-Key` the same may be sent again: it answers with the new job of the first time.
    """
    accepted = await services.desk.again(
        job_id,
        lambda: actions.finished(services, job_id, tenant),
        utc_now(),
        tenant=tenant,
        key=idempotency_key,
        unknown_allowed=how is not None and how.allow_unknown_task,
    )
    return await answer(services, root_path, accepted, prefer, accept)


@router.delete(
    "/jobs/{job_id}",
    summary="Delete a job",
    response_class=Response,
    status_code=204,
    responses={
        204: {"description": "It is gone, with its history and its result."},
        **describe("job-not-found", "not-ready"),
    },
)
async def delete_job(job_id: JobId, services: ServicesDep, tenant: TenantDep) -> Response:
    """Forget a finished job, its history and its result. Its idempotency key and its id may be used again."""
    await actions.delete(services, job_id, tenant)
    return Response(status_code=204)


def _matches(header: str | None, etag: str) -> bool:
    if header is None:
        return False
    weak = etag.removeprefix("W/")
    return any(one.strip().removeprefix("W/") in (weak, "*") for one in header.split(","))
