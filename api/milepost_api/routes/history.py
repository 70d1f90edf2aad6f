"""GET /v1/jobs/{id}/result and /events: what came of a job, and how."""

from __future__ import annotations

import json
from contextlib import closing
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import APIRouter, Query
from starlette.requests import Request
from starlette.responses import Response

from milepost.codec import Cursor
from milepost.errors import JobNotFound
from milepost.events import Ended, Snapshot, to_wire
from milepost.job import Json, Status
from milepost.log import View
from milepost.times import utc_now
from milepost_api.auth import seconds_left
from milepost_api.hub import PART, AlreadyEnded, subscribe
from milepost_api.lookup import Found, redis_answers
from milepost_api.polling import Asked, Mark, collect, unless_gone
from milepost_api.problems import Problem, describe
from milepost_api.responses import JsonResponse
from milepost_api.services import JobId, Services, ServicesDep, TenantDep
from milepost_api.streaming import HEADERS
from milepost_api.views import retry_after_seconds

router = APIRouter(tags=["jobs"])


@dataclass(frozen=True, slots=True)
class EventPage:
    """A piece of the history. `next` is the `after` of the next request; `more`: there is more already.

    `gap` says why what followed `after` could not be given (see the event of that name); then the one
    item is a `snapshot` to go on from. `done`: the `end` is among the items.
    """

    items: list[dict[str, Any]]
    next: str | None
    more: bool
    gap: str | None
    done: bool


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
    summary="Read the history of a job, or wait for what comes",
    response_class=JsonResponse,
    responses={
        200: {"model": EventPage},
        204: {"description": "With `wait`: `after` has reached the end, there is nothing more."},
        **describe("job-not-found", "expired", "invalid-request"),
    },
)
async def list_job_events(
    request: Request,
    job_id: JobId,
    services: ServicesDep,
    tenant: TenantDep,
    after: Annotated[str | None, Query(description="The `next` or any `cursor` of earlier answers.")] = None,
    limit: Annotated[int, Query(ge=1, le=500)] = 100,
    wait: Annotated[
        float | None,
        Query(
            ge=0, allow_inf_nan=False, description="Long-poll: seconds to wait for news; at most a minute."
        ),
    ] = None,
    events: Annotated[str | None, Query(description="Only these kinds, comma-separated.")] = None,
    min_interval_ms: Annotated[int, Query(ge=0, le=60_000, description="Gather news; with `wait`.")] = 0,
) -> Response:
    """Return the same events as the stream, as a page of JSON.

    Without `wait` from the beginning of the history, or after a cursor. With it as a stream does: a `snapshot`
    first, then what follows `after`, at once or when it happens; 204 after the end.
    """
    kinds = None if events is None else frozenset(part.strip() for part in events.split(","))
    if wait is None:
        return await _history(services, job_id, tenant, _given(after), limit, kinds)
    asked = Asked(
        after=Mark.parse(after),
        wait=min(wait, services.settings.long_poll_seconds_max, seconds_left(request.scope)),
        gather=min_interval_ms / 1000,
        limit=limit,
        kinds=kinds,
    )
    return await _poll(request, services, job_id, tenant, asked)


async def _poll(request: Request, services: Services, job_id: str, tenant: str, asked: Asked) -> Response:
    try:
        subscription = await subscribe(services.hub, job_id, asked.after.cursor, PART, tenant=tenant)
    except AlreadyEnded:
        return Response(status_code=204, headers=HEADERS)
    with closing(subscription):
        piece = await unless_gone(request.receive, collect(subscription, asked))
    body = b"" if piece is None else piece.to_json()
    return Response(body, media_type="application/json", headers=HEADERS)


def _given(after: str | None) -> str | None:
    """Return the cursor that a page begins after. Raises `Problem`: a page has no `gap` for what is none."""
    cursor = Mark.parse(after).cursor
    if cursor is not None and Cursor.parse(cursor) is None:
        detail = "This is no cursor; give back the `next` of an earlier page as it was."
        raise Problem(
            "invalid-request",
            f"after: {detail}",
            errors=[{"in": "query", "path": "after", "detail": detail}],
        )
    return cursor


async def _history(
    services: Services, job_id: str, tenant: str, after: str | None, limit: int, kinds: frozenset[str] | None
) -> Response:
    try:
        async with redis_answers(services.settings.redis_answer_seconds):
            view = await _view(services, job_id, tenant, after)
    except JobNotFound:
        return await _without_log(services, job_id, tenant, after)
    return JsonResponse(_gap_page(view) if view.gap else _page(view, after, limit, kinds))


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
    return JsonResponse({"items": [], "next": after, "more": False, "gap": None, "done": False})


def _page(view: View, after: str | None, limit: int, kinds: frozenset[str] | None) -> dict[str, Json]:
    entries = view.entries[:limit]
    last = str(Cursor(view.cursor.epoch, entries[-1].seq)) if entries else after or str(view.cursor)
    return {
        "items": [json.loads(entry.data) for entry in entries if kinds is None or entry.kind in kinds],
        "next": last,
        "more": view.more or len(view.entries) > limit,
        "gap": None,
        "done": bool(entries) and entries[-1].kind == Ended.type,
    }


def _gap_page(view: View) -> dict[str, Json]:
    cursor = str(view.cursor)
    snapshot = Snapshot(job_id=view.job.id, seq=view.cursor.seq, cursor=cursor, at=view.at, job=view.job)
    return {"items": [to_wire(snapshot)], "next": cursor, "more": False, "gap": view.gap, "done": False}
