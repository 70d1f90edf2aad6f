"""GET /v1/jobs and /v1/jobs/counts: which jobs there are, and how many."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Query
from pydantic import AfterValidator, AwareDatetime
from pydantic import StringConstraints as Text
from starlette.responses import Response

from milepost.job import Status
from milepost_api.problems import describe
from milepost_api.records import JobFilter
from milepost_api.records.order import cursor_of, key_of
from milepost_api.records.searchable import SHORTEST, folded
from milepost_api.responses import JsonResponse
from milepost_api.services import RootPath, ServicesDep, TenantDep
from milepost_api.views import JobResource, job_wire

router = APIRouter(tags=["jobs"])


def _is_cursor(text: str) -> str:
    if key_of(text) is None:
        raise ValueError("This is no cursor of a list. Send the `next_cursor` of a page as it is, or none")
    return text


def _can_be_found(text: str) -> str:
    if len(folded(text)) < SHORTEST:
        raise ValueError(
            f"Text is found by {SHORTEST} characters or more. For a short word as a whole use tag, task or queue"
        )
    return text


Word = Annotated[str, Text(min_length=1, max_length=200, pattern=r"^[^\x00-\x1f\x7f]+$")]
PageCursor = Annotated[str, Text(max_length=64), AfterValidator(_is_cursor)]
Searched = Annotated[Word, AfterValidator(_can_be_found)]


@dataclass(frozen=True, slots=True)
class JobPage:
    """One page of jobs; `next_cursor` asks for the next one and is null on the last."""

    items: list[JobResource]
    next_cursor: str | None


@dataclass(frozen=True, slots=True)
class StatusCounts:
    """Jobs by status. Of a status in `capped` there are at least so many, and `total` then is a least number, too."""

    by_status: dict[str, int]
    total: int
    capped: list[Status]


async def job_filter(
    tenant: TenantDep,
    status: Annotated[list[Status] | None, Query(description="May be given several times.")] = None,
    task: Word | None = None,
    queue: Word | None = None,
    tag: Word | None = None,
    batch: Annotated[Word | None, Query(description="The `batch_id` of a submission.")] = None,
    created_after: Annotated[AwareDatetime | None, Query(description="At this moment or later.")] = None,
    created_before: Annotated[AwareDatetime | None, Query(description="Before this moment.")] = None,
    q: Annotated[
        Searched | None,
        Query(
            description="Text in id, task, batch, tags, metadata, error or last message; case does not matter."
        ),
    ] = None,
) -> JobFilter:
    """Return what a request looks for: among the jobs of its tenant."""
    return JobFilter(
        tenant=tenant,
        statuses=tuple(dict.fromkeys(status or ())),
        task=task,
        queue=queue,
        tag=tag,
        batch=batch,
        created_after=created_after,
        created_before=created_before,
        text=q,
    )


Wanted = Annotated[JobFilter, Depends(job_filter)]


@router.get(
    "/jobs",
    summary="List jobs",
    response_class=JsonResponse,
    responses={200: {"model": JobPage}, **describe("invalid-request")},
)
async def list_jobs(
    services: ServicesDep,
    root_path: RootPath,
    wanted: Wanted,
    order: Literal["newest", "oldest"] = "newest",
    limit: Annotated[int, Query(ge=1, description="At most MILEPOST_PAGE_LIMIT_ITEMS are given.")] = 50,
    cursor: PageCursor | None = None,
) -> Response:
    """List jobs, newest first. Jobs that are not done show their state of this moment."""
    most = min(limit, services.settings.page_limit_items)
    after = None if cursor is None else key_of(cursor)
    page = replace(wanted, oldest_first=order == "oldest", after=after)
    records = await services.store.page(page, limit=most + 1)  # one more tells whether a page follows
    jobs = await services.lookup.overlay(records[:most])
    # The records are a moment behind: a job that has left the wanted status since is not shown.
    shown = [job for job in jobs if not wanted.statuses or job.status in wanted.statuses]
    following = cursor_of(records[most - 1].sort_key) if len(records) > most else None
    return JsonResponse({"items": [job_wire(root_path, job) for job in shown], "next_cursor": following})


@router.get(
    "/jobs/counts",
    summary="Count jobs by status",
    response_class=JsonResponse,
    responses={200: {"model": StatusCounts}, **describe("invalid-request")},
)
async def count_jobs(services: ServicesDep, wanted: Wanted) -> Response:
    """Count jobs by status, with the filters of the list; of each status 10,000 at most.

    The numbers are those of the records, a moment behind.
    """
    counts = await services.store.counts(wanted)
    by_status = {status.value: counts.by_status.get(status, 0) for status in wanted_statuses(wanted)}
    capped = [status for status in by_status if status in counts.capped]
    return JsonResponse({"by_status": by_status, "total": sum(by_status.values()), "capped": capped})


def wanted_statuses(wanted: JobFilter) -> list[Status]:
    """Return the statuses asked for, in the order of a job's life; all if none was named."""
    return [status for status in Status if not wanted.statuses or status in wanted.statuses]
