"""GET /v1/jobs: which jobs there are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from fastapi import APIRouter, Query
from pydantic import AwareDatetime
from pydantic import StringConstraints as Text
from starlette.responses import Response

from milepost.ids import JOB_ID
from milepost.job import Status
from milepost_api.problems import describe
from milepost_api.records import JobFilter
from milepost_api.responses import JsonResponse
from milepost_api.services import RootPath, ServicesDep
from milepost_api.views import JobResource, job_wire

router = APIRouter(tags=["jobs"])

Word = Annotated[str, Text(min_length=1, max_length=200, pattern=r"^[^\x00-\x1f\x7f]+$")]
PageCursor = Annotated[str, Text(pattern=f"^{JOB_ID.pattern}$")]


@dataclass(frozen=True, slots=True)
class JobPage:
    """One page of jobs; `next_cursor` asks for the next one and is null on the last."""

    items: list[JobResource]
    next_cursor: str | None


@router.get(
    "/jobs",
    summary="List jobs",
    response_class=JsonResponse,
    responses={200: {"model": JobPage}, **describe("invalid-request")},
)
async def list_jobs(
    services: ServicesDep,
    root_path: RootPath,
    status: Annotated[list[Status] | None, Query(description="May be given several times.")] = None,
    task: Word | None = None,
    queue: Word | None = None,
    tag: Word | None = None,
    created_after: AwareDatetime | None = None,
    created_before: AwareDatetime | None = None,
    q: Annotated[
        Word | None, Query(description="Text in task, tags, metadata or error; or a whole id.")
    ] = None,
    order: Literal["newest", "oldest"] = "newest",
    limit: Annotated[int, Query(ge=1, description="At most MILEPOST_PAGE_LIMIT_ITEMS are given.")] = 50,
    cursor: PageCursor | None = None,
) -> Response:
    """List jobs, newest first. Jobs that are not done show their state of this moment."""
    most = min(limit, services.settings.page_limit_items)
    wanted = JobFilter(
        statuses=tuple(status or ()),
        task=task,
        queue=queue,
        tag=tag,
        created_after=created_after,
        created_before=created_before,
        text=q,
        oldest_first=order == "oldest",
        after_id=cursor,
    )
    records = await services.store.page(wanted, limit=most + 1)  # one more tells whether a page follows
    jobs = await services.lookup.overlay(records[:most])
    # The records are a moment behind: a job that has left the wanted status since is not shown.
    shown = [job for job in jobs if not status or job.status in status]
    following = records[most - 1].id if len(records) > most else None
    return JsonResponse({"items": [job_wire(root_path, job) for job in shown], "next_cursor": following})
