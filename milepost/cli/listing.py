"""`milepost list` and `count`: which jobs there are."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click

from milepost.cli import exits, wording
from milepost.cli.options import Common, common, print_json, print_table
from milepost.job import Job, Status

if TYPE_CHECKING:
    from milepost.client import ListFilter

F = TypeVar("F", bound=Callable[..., Any])

_FILTERS = (
    click.option(
        "--status",
        multiple=True,
        type=click.Choice([status.value for status in Status]),
        help="Only these; may be given several times.",
    ),
    click.option("--task", help="Only jobs of this task."),
    click.option("--queue", help="Only jobs of this queue."),
    click.option("--tag", help="Only jobs with this tag."),
    click.option("--batch", help="Only jobs of this batch."),
    click.option("--created-after", metavar="TIME", help="Only jobs created then or later (RFC 3339)."),
    click.option("--created-before", metavar="TIME", help="Only jobs created before then."),
    click.option(
        "--text", help="Only jobs with this in id, task, batch, tags, metadata, error or last message."
    ),
)


def _filters(function: F) -> F:
    decorated: Any = function
    for option in reversed(_FILTERS):
        decorated = option(decorated)
    return decorated  # type: ignore[no-any-return]


@click.command("list")
@_filters
@click.option("--oldest-first", is_flag=True, help="Oldest jobs first.")
@click.option("--limit", type=click.IntRange(min=1), default=20, show_default=True, help="How many at most.")
@click.option("--cursor", help="Go on where an earlier list ended.")
@common
def list_jobs(*, oldest_first: bool, limit: int, cursor: str | None, common: Common, **options: Any) -> int:
    """List jobs, newest first."""
    with common.client() as client:
        page = client.list(oldest_first=oldest_first, limit=limit, cursor=cursor, **_given(options))
    if common.as_json:
        print_json({"items": [job.to_wire() for job in page.items], "next_cursor": page.next_cursor})
        return exits.OK
    if page.items:
        print_table(("ID", "STATUS", "DONE", "CREATED", "TASK"), [_row(job) for job in page.items])
    else:
        common.hint("No jobs.")
    if page.next_cursor:
        common.hint(f"There are more: --cursor {page.next_cursor}")
    return exits.OK


@click.command("count")
@_filters
@common
def count_jobs(*, common: Common, **options: Any) -> int:
    """Count jobs by status; of each status 10,000 at most."""
    with common.client() as client:
        counts = client.counts(**_given(options))
    if common.as_json:
        capped = sorted(counts.capped)
        print_json({"by_status": dict(counts.by_status), "total": counts.total, "capped": capped})
        return exits.OK
    rows = [
        (status, f"{jobs:,}{'+' if status in counts.capped else ''}")
        for status, jobs in counts.by_status.items()
    ]
    print_table(("STATUS", "JOBS"), [*rows, ("total", f"{counts.total:,}{'+' if counts.capped else ''}")])
    return exits.OK


def _given(options: dict[str, Any]) -> ListFilter:
    return {name: value for name, value in options.items() if value not in (None, ())}  # type: ignore[return-value]


def _row(job: Job) -> tuple[str, ...]:
    created = (job.created_at or "")[:19].replace("T", " ")
    status = str(job.status) + (" (no worker)" if wording.is_stuck(job) else "")
    return (job.id, status, wording.percent(job.progress), created, wording.clean(job.task))
