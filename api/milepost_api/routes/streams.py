"""`GET /v1/jobs/{id}/status/stream`: every step of one job, down to its end."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Coroutine, Mapping
from functools import partial
from typing import Annotated

from fastapi import APIRouter, Header, Query
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Scope

from milepost.errors import StoreUnavailable
from milepost.redis import UNREACHABLE
from milepost_api.auth import TENANT, reader_of
from milepost_api.hub import AlreadyEnded, Crowded, Wishes, reconnect, subscribe
from milepost_api.problems import Problem, ProblemResponse, describe
from milepost_api.services import JobId, Services, ServicesDep
from milepost_api.streaming import HEADERS, NDJSON, SSE, Source, StreamResponse, accepts, come_back_later

CROWDED_SECONDS = (15, 30)
"""How long who finds no room stays away: nobody leaves a full process within a few seconds."""

router = APIRouter(tags=["jobs"])


@router.get(
    "/jobs/{job_id}/status/stream",
    summary="Follow a job",
    response_class=Response,
    responses={
        200: {"description": "Events, until the job ends.", "content": {SSE: {}, NDJSON: {}}},
        204: {"description": "The cursor has reached the end: there is nothing more, do not come back."},
        **describe("job-not-found", "not-acceptable", "invalid-request"),
    },
)
async def stream_job_status(
    request: Request,
    job_id: JobId,
    services: ServicesDep,
    accept: Annotated[str, Header()] = "",
    last_event_id: Annotated[str | None, Header()] = None,
    query_last_event_id: Annotated[str | None, Query(alias="last_event_id")] = None,
    events: Annotated[str | None, Query(description="Only these kinds, comma-separated.")] = None,
    min_interval_ms: Annotated[int, Query(ge=0, le=60_000)] = 0,
) -> Response:
    """Stream a job: `snapshot`, then everything after it, then `end` and the end of the body."""
    # EventSource sends its header only when it *re*connects, so a page that has read a snapshot passes the cursor
    # it saw in the query. The header wins: it is newer.
    cursor = last_event_id or query_last_event_id
    return await open_stream(services, request.scope, job_id, accept, cursor, events, min_interval_ms)


async def open_stream(
    services: Services,
    scope: Scope,
    job_id: str,
    accept: str,
    cursor: str | None,
    events: str | None,
    min_interval_ms: int,
) -> Response:
    """Return the stream of a job for whoever `scope` is of. Raises `Problem`, `JobNotFound`, `StoreUnavailable`."""
    reader = reader_of(scope)
    wishes = Wishes(
        kinds=kinds_in(events),
        min_interval_seconds=min_interval_ms / 1000,
        until=reader.until if reader else math.inf,
    )
    opening = partial(subscribe, services.hub, job_id, cursor, wishes, tenant=scope[TENANT])
    return await streamed(services, accept, opening)


def kinds_in(events: str | None) -> frozenset[str] | None:
    """Return the kinds of events that a query names, None for all."""
    return None if events is None else frozenset(part.strip() for part in events.split(","))


async def streamed(
    services: Services, accept: str, opening: Callable[[], Coroutine[None, None, Source]]
) -> Response:
    """Return the stream of what `opening` opens, or what is to be said instead. Raises `Problem`, `MilepostError`."""
    kind = accepts(accept, (SSE, NDJSON), SSE)
    if kind is None:
        raise Problem("not-acceptable", f"This stream is served as {SSE} or {NDJSON}; accept one of them.")
    try:
        source = await opening()
    except AlreadyEnded:
        return Response(status_code=204, headers=HEADERS)
    except Crowded as error:
        return _full(error, ndjson=kind == NDJSON)
    except (StoreUnavailable, *UNREACHABLE) as error:
        if kind == NDJSON:
            raise StoreUnavailable(str(error)) from error
        return come_back_later()
    return response_of(services, source, kind)


def response_of(
    services: Services, source: Source, kind: str, headers: Mapping[str, str] | None = None
) -> StreamResponse:
    """Return the answer that sends what a source says, as `kind`: SSE or NDJSON."""
    return StreamResponse(
        source,
        ndjson=kind == NDJSON,
        ping_seconds=services.settings.ping_seconds,
        stalled_seconds=services.settings.stalled_reader_seconds,
        grace_seconds=services.settings.shutdown_grace_seconds,
        lanes=services.lanes,
        headers=headers,
    )


def _full(error: Crowded, *, ndjson: bool) -> Response:
    """Answer where there is no room, and keep nothing of the connection: it, too, takes a file descriptor."""
    wait = random.randint(*CROWDED_SECONDS)
    headers = {**HEADERS, "Connection": "close"}
    if ndjson:
        return ProblemResponse("unavailable", str(error), headers={**headers, "Retry-After": str(wait)})
    return Response(reconnect("crowded", wait * 1000).sse, media_type=SSE, headers=headers)
