"""POST /v1/jobs/cancel, /retry and /delete: the same for all jobs that a filter finds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from fastapi import APIRouter, Depends, Query
from pydantic import AfterValidator
from pydantic import StringConstraints as Text
from starlette.responses import Response

from milepost.ids import new_job_id
from milepost.job import Json, Status
from milepost_api.bulk import KINDS, Kind, Place, work
from milepost_api.problems import Problem, describe
from milepost_api.records import JobFilter
from milepost_api.responses import JsonResponse
from milepost_api.routes.listing import Wanted
from milepost_api.routes.submit import IdempotencyKey
from milepost_api.services import Services, ServicesDep

router = APIRouter(tags=["jobs"])
LIMIT_MOST = 10_000


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why one job was not done again: a problem of its own."""

    id: str
    type: str
    detail: str


@dataclass(frozen=True, slots=True)
class BulkOutcome:
    """What was done, or with `dry_run` what there is to do.

    `by_status` is the number of jobs that matched, by the status of their records; of a status in `capped` there are
    at least so many. `skipped` had changed since, or were refused: `refusals` tells of the first of those.
    With a `next_cursor` there is more to do.
    """

    dry_run: bool
    matched: int
    changed: int
    skipped: int
    by_status: dict[str, int]
    capped: list[Status]
    refusals: list[Refusal]
    next_cursor: str | None


def _place(text: str) -> str:
    if Place.parse(text) is None:
        raise ValueError(
            "This is no cursor of a bulk operation. Send the `next_cursor` of its answer as it is"
        )
    return text


@dataclass(frozen=True, slots=True)
class Order:
    """What a bulk request asks for: which jobs, how many of them, from where on."""

    wanted: JobFilter
    dry_run: bool
    limit: int
    place: Place


def order(
    wanted: Wanted,
    every: Annotated[
        bool, Query(alias="all", description="All jobs: instead of a filter, so that none is forgotten.")
    ] = False,
    dry_run: Annotated[bool, Query(description="Say how many there are, and change nothing.")] = False,
    limit: Annotated[int, Query(ge=1, le=LIMIT_MOST, description="How many jobs at most.")] = 1000,
    cursor: Annotated[
        str | None, Text(max_length=64), AfterValidator(lambda text: text and _place(text))
    ] = None,
    idempotency_key: IdempotencyKey = None,
) -> Order:
    """Read a bulk request. Raises `Problem` for one without a filter, which would be about all jobs by mistake."""
    filtered = wanted != JobFilter(tenant=wanted.tenant)
    if filtered == every:
        detail = (
            "Give a filter or all=true, not both."
            if every
            else "Give at least one filter, such as status or tag; for all jobs there are, say all=true."
        )
        raise Problem("invalid-request", detail, errors=[{"in": "query", "path": "all", "detail": detail}])
    place = Place.parse(cursor) if cursor else None
    return Order(
        wanted=wanted,
        dry_run=dry_run,
        limit=limit,
        place=place or Place.begin(idempotency_key or new_job_id()),
    )


OrderDep = Annotated[Order, Depends(order)]
RESPONSES = {200: {"model": BulkOutcome}, **describe("invalid-request")}


@router.post("/jobs/cancel", summary="Cancel many jobs", response_class=JsonResponse, responses=RESPONSES)
async def cancel_jobs(services: ServicesDep, order: OrderDep) -> Response:
    """Cancel all jobs of a filter that have not ended, newest first, as `POST /v1/jobs/{id}/cancel` does."""
    return await _answer(services, KINDS["cancel"], order)


@router.post("/jobs/retry", summary="Do many jobs again", response_class=JsonResponse, responses=RESPONSES)
async def retry_jobs(services: ServicesDep, order: OrderDep) -> Response:
    """Do all jobs of a filter again that have not succeeded, newest first, as `POST /v1/jobs/{id}/retry` does.

    Those that have succeeded only if `status` names `succeeded`. With an `Idempotency-Key` no job is done again twice,
    however often the request is sent, and whatever its cursor.
    """
    return await _answer(services, KINDS["retry"], order)


@router.post("/jobs/delete", summary="Delete many jobs", response_class=JsonResponse, responses=RESPONSES)
async def delete_jobs(services: ServicesDep, order: OrderDep) -> Response:
    """Delete all jobs of a filter that have ended, newest first, as `DELETE /v1/jobs/{id}` does."""
    return await _answer(services, KINDS["delete"], order)


async def _answer(services: Services, kind: Kind, order: Order) -> Response:
    wanted = kind.narrowed(order.wanted)
    if order.dry_run:
        counts = await services.store.counts(wanted)
        return JsonResponse(_wire(True, counts.by_status, capped=[s for s in Status if s in counts.capped]))
    done = await work(services, kind, wanted, order.place, limit=order.limit)
    refusals = [
        {"id": job_id, "type": problem.uri, "detail": str(problem)} for job_id, problem in done.refusals
    ]
    return JsonResponse(
        _wire(
            False,
            done.statuses,
            changed=done.changed,
            skipped=done.skipped,
            refusals=refusals,
            next_cursor=str(done.place) if done.place else None,
        )
    )


def _wire(dry_run: bool, by_status: dict[str, int], **more: Json) -> dict[str, Json]:
    shown = {status.value: by_status[status] for status in Status if by_status.get(status)}
    nothing = {"changed": 0, "skipped": 0, "capped": [], "refusals": [], "next_cursor": None}
    return {"dry_run": dry_run, "matched": sum(shown.values()), "by_status": shown, **nothing, **more}
