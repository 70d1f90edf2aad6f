"""`GET /v1/status/stream`: many jobs on one connection."""

from __future__ import annotations

import math
from functools import partial
from typing import Annotated

from fastapi import APIRouter, Header, Query
from fastapi.exceptions import RequestValidationError
from starlette.requests import Request
from starlette.responses import Response

from milepost_api.auth import reader_of
from milepost_api.many import LIVE_INTERVAL_MS, NAMED_MOST, Filter, Wanted
from milepost_api.problems import describe
from milepost_api.routes.listing import Word
from milepost_api.routes.streams import kinds_in, streamed
from milepost_api.services import ServicesDep, TenantDep
from milepost_api.streaming import NDJSON, SSE

router = APIRouter(tags=["jobs"])

Named = Annotated[
    list[Annotated[str, Query(min_length=1, max_length=130)]] | None,
    Query(description=f"A job, or JOB@CURSOR to go on after an event; up to {NAMED_MOST} times."),
]


@router.get(
    "/status/stream",
    summary="Follow many jobs on one connection",
    response_class=Response,
    responses={
        200: {"description": "Events, until all jobs have ended.", "content": {SSE: {}, NDJSON: {}}},
        204: {
            "description": "All jobs have ended and the reader knows: there is nothing more, do not come back."
        },
        **describe("job-not-found", "not-acceptable", "invalid-request"),
    },
)
async def stream_many(
    request: Request,
    services: ServicesDep,
    tenant: TenantDep,
    accept: Annotated[str, Header()] = "",
    last_event_id: Annotated[str | None, Header()] = None,
    query_last_event_id: Annotated[str | None, Query(alias="last_event_id")] = None,
    job: Named = None,
    tag: Annotated[Word | None, Query(description="The jobs that carry this tag.")] = None,
    batch: Annotated[Word | None, Query(description="The jobs with this `batch_id`.")] = None,
    events: Annotated[str | None, Query(description="Only these kinds, comma-separated.")] = None,
    min_interval_ms: Annotated[
        int | None,
        Query(ge=0, le=60_000, description=f"Default 0; {LIVE_INTERVAL_MS} for the list of all jobs."),
    ] = None,
) -> Response:
    """Stream the jobs that are named, those of a tag or a batch, or without any of these all there are.

    A `selection`, a `snapshot` of each, then everything after it; a `job_end` for each, then `end` and the end of the
    body. The list of all jobs has no end.
    """
    named = None if job is None else _named(job)
    if named is not None and (tag is not None or batch is not None):
        raise _invalid("job", "Name jobs, or ask for a tag or a batch, not both.")
    live = named is None and tag is None and batch is None
    interval = min_interval_ms if min_interval_ms is not None else LIVE_INTERVAL_MS if live else 0
    reader = reader_of(request.scope)
    wanted = Wanted(
        filter=Filter(tenant, tag, batch),
        named=named,
        kinds=kinds_in(events),
        min_interval_seconds=interval / 1000,
        last_event_id=last_event_id or query_last_event_id,
        until=reader.until if reader else math.inf,
    )
    return await streamed(services, accept, partial(services.many.open, wanted))


def _named(given: list[str]) -> dict[str, str]:
    """Return each job with what was given as its cursor, "" if nothing was. Raises a problem for too many."""
    named: dict[str, str] = {}
    for one in given:
        job_id, _, cursor = one.partition("@")
        named[job_id] = cursor
    if len(named) > NAMED_MOST:
        raise _invalid(
            "job", f"{len(named)} jobs are named, and a connection takes {NAMED_MOST}. Open a second one."
        )
    return named


def _invalid(name: str, why: str) -> RequestValidationError:
    return RequestValidationError(
        [{"type": "value_error", "loc": ("query", name), "msg": why, "input": None}]
    )
