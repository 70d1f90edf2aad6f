"""POST /v1/jobs: accept a job."""

from __future__ import annotations

import asyncio
from typing import Annotated

from fastapi import APIRouter, Header
from starlette.responses import Response

from milepost.times import utc_now
from milepost_api.lookup import Found
from milepost_api.prefer import wait_seconds
from milepost_api.problems import describe
from milepost_api.records import JobRecord
from milepost_api.responses import JsonResponse
from milepost_api.services import RootPath, Services, ServicesDep, TenantDep
from milepost_api.submit import Submission
from milepost_api.views import JobResource, job_wire, retry_after_seconds, urls_of
from milepost_api.waiting import wait_for_change

router = APIRouter(tags=["jobs"])
IdempotencyKey = Annotated[
    str | None, Header(min_length=1, max_length=255, pattern=r"^[\x21-\x7e]+$", description="Plain ASCII.")
]


@router.post(
    "/jobs",
    summary="Submit a job",
    response_class=JsonResponse,
    status_code=202,
    responses={
        202: {
            "model": JobResource,
            "description": "Accepted and committed: the job reaches an end, whatever dies.",
        },
        200: {"model": JobResource, "description": "Done already, within the time of `Prefer: wait=N`."},
        **describe(
            "bad-request",
            "too-large",
            "unsupported-media-type",
            "invalid-request",
            "unknown-task",
            "invalid-params",
            "idempotency-mismatch",
        ),
    },
)
async def submit_job(
    submission: Submission,
    services: ServicesDep,
    tenant: TenantDep,
    root_path: RootPath,
    idempotency_key: IdempotencyKey = None,
    prefer: Annotated[
        list[str] | None, Header(description="`wait=N`: answer when done, for N seconds.")
    ] = None,
) -> Response:
    """Commit a job and hand it to the workers.

    With an `Idempotency-Key` the same submission may be sent again: it answers with the job of the first,
    and `Idempotency-Replayed: true`.
    """
    accepted = await services.desk.accept(submission, utc_now(), idempotency_key, tenant=tenant)
    record, replayed = accepted.record, accepted.replayed
    seconds = wait_seconds(prefer or (), services.settings.long_poll_seconds_max)
    headers = {"Location": urls_of(root_path, record.id)["self"]}
    if replayed:
        headers["Idempotency-Replayed"] = "true"
    if seconds is not None:
        headers["Preference-Applied"] = f"wait={seconds:g}"
    waited = seconds is not None or replayed
    seen = (
        await _outcome(services, record, seconds or 0)
        if waited
        else await services.lookup.accepted(record, accepted.position)
    )
    if seen.job.done and seconds is not None:
        return JsonResponse(job_wire(root_path, seen.job), 200, headers)
    headers["Retry-After"] = str(retry_after_seconds(seen.job, utc_now()))
    return JsonResponse(job_wire(root_path, seen.job), 202, headers)


async def _outcome(services: Services, record: JobRecord, seconds: float) -> Found:
    """Return the job when it is done, or as it is after `seconds`."""
    deadline = asyncio.get_running_loop().time() + seconds
    seen = await services.lookup.find(record.id, record.tenant)
    while not seen.job.done and (left := deadline - asyncio.get_running_loop().time()) > 0:
        await wait_for_change(services.hub, record.id, seen.cursor, left)
        seen = await services.lookup.find(record.id, record.tenant)
    return seen
