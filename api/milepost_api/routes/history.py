"""GET /v1/jobs/{id}/result and /events: what came of a job, and how."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import APIRouter, Query
from starlette.responses import Response

from milepost.codec import Cursor
from milepost.errors import JobNotFound
from milepost.events import Snapshot, to_wire
from milepost.job import Json, Status
from milepost.log import View
from milepost.times import utc_now
from milepost_api.lookup import Found, redis_answers
from milepost_api.problems import Problem, describe
from milepost_api.responses import JsonResponse
from milepost_api.routes.status import CursorText
from milepost_api.services import JobId, Services, ServicesDep, TenantDep
from milepost_api.views import retry_after_seconds

router = APIRouter(tags=["jobs"])


@dataclass(frozen=True, slots=True)
class EventPage:
    """A piece of the history. `next` is the `after` of the next request; `more`: there is more already.

    `gap` says why what followed `after` could not be given (see the event of that name); then the one
    item is a `snapshot` to go on from.
    """

    items: list[dict[str, Any]]
    next: str | None
    more: bool
    gap: str | None


@router.get(
    "/jobs/{job_id}/result",
    summary="Get the result of a job",
    response_class=JsonResponse,
    responses={
        200: {"description": "What the task returned, as JSON.", "content": {"application/json": {}}},
        **describe("job-not-found", "not-ready", "no-result", "expired"),
    },
)
async def get_job_result(job_id: JobId, services: ServicesDep, tenant: TenantDep) -> Response:
    """Return what the task returned, of any size."""
    seen = await services.lookup.find(job_id, tenant)
    if not seen.job.done:
        wait = retry_after_seconds(seen.job, utc_now())
        raise Problem(
            "not-ready",
            f"The job is {seen.job.status}; its result comes when it succeeds. Ask again, or follow it.",
            headers={"Retry-After": str(wait)},
            job_status=seen.job.status,
        )
    if seen.job.status != Status.SUCCEEDED:
        raise _no_result(seen)
    result = await _result(services, seen, tenant)
    if result is None:
        raise Problem("expired", "The job succeeded, but its result is no longer kept.")
    return Response(result, media_type="application/json", headers={"Cache-Control": "private, no-cache"})


def _no_result(seen: Found) -> Problem:
    error = seen.job.error
    why = f": {error.message}" if error else "."
    return Problem(
        "no-result",
        f"The job ended as {seen.job.status} and has no result{why}",
        job_status=seen.job.status,
        error=error.to_wire() if error else None,
    )


async def _result(services: Services, seen: Found, tenant: str) -> bytes | None:
    if seen.live:
        async with redis_answers(services.settings.redis_answer_seconds):
            if (result := await services.log.result(seen.job.id)) is not None:
                return result
    record = await services.store.find(seen.job.id, tenant)
    return record.result.encode() if record and record.result is not None else None


@router.get(
    "/jobs/{job_id}/events",
    summary="Read the history of a job",
    response_class=JsonResponse,
    responses={200: {"model": EventPage}, **describe("job-not-found", "expired", "invalid-request")},
)
async def list_job_events(
    job_id: JobId,
    services: ServicesDep,
    tenant: TenantDep,
    after: Annotated[CursorText | None, Query(description="From the beginning if not given.")] = None,
    limit: Annotated[int, Query(ge=1, le=500)] = 100,
) -> Response:
    """Return the same events as the stream, as a page of JSON."""
    try:
        async with redis_answers(services.settings.redis_answer_seconds):
            view = await _view(services, job_id, tenant, after)
    except JobNotFound:
        return await _without_log(services, job_id, tenant, after)
    return JsonResponse(_gap_page(view) if view.gap else _page(view, after, limit))


async def _view(services: Services, job_id: str, tenant: str, after: str | None) -> View:
    here = Cursor.parse(after) if after else None
    if here is None:
        here = Cursor((await services.log.read(job_id, tenant=tenant)).cursor.epoch, 0)
    return await services.log.read(job_id, here, tenant=tenant)


async def _without_log(services: Services, job_id: str, tenant: str, after: str | None) -> Response:
    record = await services.store.find(job_id, tenant)
    if record is None:
        raise JobNotFound
    if record.done:
        raise Problem("expired", "The history of this job is no longer kept; its outcome is.")
    return JsonResponse({"items": [], "next": after, "more": False, "gap": None})


def _page(view: View, after: str | None, limit: int) -> dict[str, Json]:

    entries = view.entries[:limit]
    last = str(Cursor(view.cursor.epoch, entries[-1].seq)) if entries else after or str(view.cursor)
    return {
        "items": [json.loads(entry.data) for entry in entries],
        "next": last,
        "more": view.more or len(view.entries) > limit,
        "gap": None,
    }


def _gap_page(view: View) -> dict[str, Json]:
    cursor = str(view.cursor)
    snapshot = Snapshot(job_id=view.job.id, seq=view.cursor.seq, cursor=cursor, at=view.at, job=view.job)
    return {"items": [to_wire(snapshot)], "next": cursor, "more": False, "gap": view.gap}
