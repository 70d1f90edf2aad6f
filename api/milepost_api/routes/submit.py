"""POST /v1/jobs and PUT /v1/jobs/{id}: accept a job."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Annotated, Any

import structlog
from fastapi import APIRouter, Depends, Header
from redis.exceptions import RedisError
from starlette.responses import Response

from milepost.errors import JobNotFound, StoreUnavailable
from milepost.ids import JOB_ID, is_job_id
from milepost.redis import UNREACHABLE
from milepost.times import utc_now
from milepost_api.desk import Accepted
from milepost_api.hub import Crowded, subscribe
from milepost_api.lookup import Found
from milepost_api.prefer import wait_seconds
from milepost_api.problems import Problem, describe
from milepost_api.records import JobRecord
from milepost_api.responses import JsonResponse
from milepost_api.routes.streams import response_of
from milepost_api.services import RootPath, Services, ServicesDep, TenantDep
from milepost_api.streaming import NDJSON, SSE, accepts
from milepost_api.submit import Submission
from milepost_api.views import RESERVED_IDS, JobResource, job_wire, retry_after_seconds, urls_of
from milepost_api.waiting import wait_for_end

router = APIRouter(tags=["jobs"])
log = structlog.get_logger()
IdempotencyKey = Annotated[
    str | None, Header(min_length=1, max_length=255, pattern=r"^[\x21-\x7e]+$", description="Plain ASCII.")
]
Prefer = Annotated[list[str] | None, Header(description="`wait=N`: answer when done, for N seconds.")]
Accept = Annotated[
    str, Header(description=f"`{SSE}` or `{NDJSON}`: answer with the stream of the job, at once.")
]
JSON = JsonResponse.media_type
LOOK_AGAIN_SECONDS = 0.1


def chosen_id(job_id: str) -> str:
    """Return an id that a client has chosen. Raises `Problem` for what can be none."""
    if is_job_id(job_id) and job_id not in RESERVED_IDS:
        return job_id
    reserved = ", ".join(sorted(RESERVED_IDS))
    detail = f"An id is 1 to 64 of letters, digits, _ and - ({JOB_ID.pattern}), and none of {reserved}."
    raise Problem("invalid-request", detail, errors=[{"in": "path", "path": "job_id", "detail": detail}])


ChosenId = Annotated[str, Depends(chosen_id)]

ACCEPTED: dict[int | str, dict[str, Any]] = {
    202: {
        "model": JobResource,
        "description": "Accepted and committed: the job reaches an end, whatever dies.",
    },
    200: {
        "model": JobResource,
        "description": "Done already, within the time of `Prefer: wait=N`; or the stream that `Accept` asks for.",
        "content": {SSE: {}, NDJSON: {}},
    },
}
REFUSED = (
    *("bad-request", "too-large", "unsupported-media-type"),
    *("invalid-request", "unknown-task", "invalid-params"),
)


@router.post(
    "/jobs",
    summary="Submit a job",
    response_class=JsonResponse,
    status_code=202,
    responses={**ACCEPTED, **describe(*REFUSED, "idempotency-mismatch")},
)
async def submit_job(
    submission: Submission,
    services: ServicesDep,
    tenant: TenantDep,
    root_path: RootPath,
    idempotency_key: IdempotencyKey = None,
    prefer: Prefer = None,
    accept: Accept = "",
) -> Response:
    """Commit a job and hand it to the workers.

    With an `Idempotency-Key` the same submission may be sent again: it answers with the job of the first,
    and `Idempotency-Replayed: true`.
    """
    return await take(services, tenant, root_path, submission, idempotency_key, prefer, accept)


async def take(
    services: Services,
    tenant: str,
    root_path: str,
    submission: Submission,
    key: str | None,
    prefer: list[str] | None,
    accept: str,
) -> Response:
    """Return the answer to a submission. Raises `Problem`, `MilepostError`."""
    accepted = await services.desk.accept(submission, utc_now(), tenant=tenant, key=key)
    return await answer(services, root_path, accepted, prefer, accept)


@router.put(
    "/jobs/{job_id}",
    summary="Submit a job under an id of your own",
    response_class=JsonResponse,
    status_code=202,
    responses={**ACCEPTED, **describe(*REFUSED, "id-taken")},
)
async def put_job(
    submission: Submission,
    job_id: ChosenId,
    services: ServicesDep,
    tenant: TenantDep,
    root_path: RootPath,
    prefer: Prefer = None,
    accept: Accept = "",
) -> Response:
    """Commit a job under this id and hand it to the workers; the same may be sent again.

    It then answers as the first time, with `Idempotency-Replayed: true`: the id is the key, and an `Idempotency-Key`
    is not looked at.
    """
    accepted = await services.desk.accept(submission, utc_now(), tenant=tenant, job_id=job_id)
    return await answer(services, root_path, accepted, prefer, accept)


async def answer(
    services: Services, root_path: str, accepted: Accepted, prefer: list[str] | None, accept: str
) -> Response:
    """Answer with an accepted job, at once or when it is done, or with its stream."""
    record, replayed = accepted.record, accepted.replayed
    seconds = wait_seconds(prefer or (), services.settings.long_poll_seconds_max)
    headers = {"Location": urls_of(root_path, record.id)["self"]}
    if replayed:
        headers["Idempotency-Replayed"] = "true"
    kind = accepts(accept, (JSON, SSE, NDJSON), JSON)
    if kind in (SSE, NDJSON) and (stream := await _stream(services, record, kind, headers)):
        return stream
    if seconds is not None:
        headers["Preference-Applied"] = f"wait={seconds:g}"
    seen = await _seen(services, accepted, seconds)
    if seen.job.done and seconds is not None:
        return JsonResponse(job_wire(root_path, seen.job), 200, headers)
    headers["Retry-After"] = str(retry_after_seconds(seen.job, utc_now()))
    return JsonResponse(job_wire(root_path, seen.job), 202, headers)


async def _stream(
    services: Services, record: JobRecord, kind: str, headers: Mapping[str, str]
) -> Response | None:
    """Return the stream of an accepted job; None where none can be had, and the answer is that it is accepted."""
    try:
        source = await subscribe(services.hub, record.id, None, tenant=record.tenant)
    except (Crowded, JobNotFound, StoreUnavailable, *UNREACHABLE) as error:
        log.warning("accepted, and cannot be streamed", job_id=record.id, reason=str(error))
        return None
    return response_of(services, source, kind, headers)


async def _seen(services: Services, accepted: Accepted, seconds: float | None) -> Found:
    record = accepted.record
    if accepted.replayed:  # its record may be behind, and who asked again can do so once more
        return await _outcome(services, record, seconds or 0)
    if seconds is not None:
        try:
            return await _outcome(services, record, seconds)
        except (StoreUnavailable, RedisError) as error:
            # It is committed: after a 503 a client without a key would submit it a second time.
            log.warning("accepted, and cannot be waited for", job_id=record.id, reason=str(error))
    return await services.lookup.accepted(record, accepted.position)


async def _outcome(services: Services, record: JobRecord, seconds: float) -> Found:
    """Return the job when it is done, or as it is after `seconds`, or when this process has to leave."""
    clock = asyncio.get_running_loop().time
    deadline = clock() + seconds
    seen = await services.lookup.find(record.id, record.tenant)
    while not seen.job.done and clock() < deadline and not services.hub.draining.is_set():
        await wait_for_end(services.hub, record.id, deadline - clock())
        seen = await services.lookup.find(record.id, record.tenant)
        if not seen.job.done and not services.hub.draining.is_set():  # its readers know more than we: soon
            await asyncio.sleep(min(LOOK_AGAIN_SECONDS, max(0.0, deadline - clock())))
    return seen
