"""GET /v1/jobs/{id}/details: what whoever runs the job may see, and a page that was given a token may not."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from fastapi import APIRouter
from redis.exceptions import RedisError
from starlette.responses import Response

from milepost.errors import JobNotFound, StoreUnavailable
from milepost.job import Json
from milepost.secrets import HIDDEN, redacted
from milepost_api.lookup import redis_answers
from milepost_api.problems import Problem, describe
from milepost_api.records import JobRecord
from milepost_api.responses import JsonResponse
from milepost_api.services import JobId, Services, ServicesDep, TenantDep

router = APIRouter(tags=["jobs"])


@dataclass(frozen=True, slots=True)
class JobDetails:
    """What a job was asked to do, and where it failed.

    `params` has `***` in place of every secret and of what the task takes no more, and is null when no schema is known
    that says which they are.
    """

    id: str
    params: dict[str, Any] | None
    timeout_seconds: float | None
    start_timeout_seconds: float | None
    traceback: str | None


@router.get(
    "/jobs/{job_id}/details",
    summary="Get the params and the traceback of a job",
    response_class=JsonResponse,
    responses={200: {"model": JobDetails}, **describe("job-not-found")},
)
async def get_job_details(job_id: JobId, services: ServicesDep, tenant: TenantDep) -> Response:
    """Return what a job was asked to do and, if it failed, its traceback. Stream tokens do not open this."""
    record = await services.store.find(job_id, tenant)
    if record is None:
        raise JobNotFound
    details: dict[str, Json] = {
        "id": record.id,
        "params": await _params(services, record),
        "timeout_seconds": record.timeout_seconds,
        "start_timeout_seconds": record.start_timeout_seconds,
        "traceback": record.traceback or await _newest_traceback(services, job_id),
    }
    return JsonResponse(details, headers={"Cache-Control": "no-store"})


async def _params(services: Services, record: JobRecord) -> Json:
    try:
        async with redis_answers(services.settings.redis_answer_seconds):
            offer = await services.offers.find(record.task)
    except (Problem, StoreUnavailable, RedisError):
        return None  # nobody knows which of them are secret: none is shown
    return _shown(json.loads(record.params), offer.task.params_schema)


def _shown(params: dict[str, Json], schema: Mapping[str, Any]) -> Json:
    """Return params without secrets. One that was renamed since is unknown by its old name: nobody can say of it."""
    if schema.get("additionalProperties") is False:
        known = schema.get("properties", {})
        params = {name: value if name in known else HIDDEN for name, value in params.items()}
    return redacted(params, schema)


async def _newest_traceback(services: Services, job_id: str) -> str | None:
    """The records are a moment behind the log."""
    try:
        async with redis_answers(services.settings.redis_answer_seconds):
            return await services.log.traceback(job_id)
    except StoreUnavailable:
        return None  # the params are worth showing without it
