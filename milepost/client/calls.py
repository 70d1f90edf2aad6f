"""Each call to the API as a value: what to send, and how to read the answer. No I/O."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Generic, Literal, TypedDict, TypeVar
from urllib.parse import urlencode

from milepost.client import answers
from milepost.client.errors import BadAnswer, Invalid
from milepost.codec import dumps
from milepost.errors import JobNotFound
from milepost.ids import is_job_id, new_job_id
from milepost.job import Job, Json

T = TypeVar("T")
Bulk = Literal["cancel", "retry", "delete"]


class SubmitOptions(TypedDict, total=False):
    """What may be said about a job besides its task and params. Times in seconds; `run_at` is RFC 3339."""

    queue: str
    priority: int
    delay_seconds: float
    run_at: str
    timeout_seconds: float
    start_timeout_seconds: float
    max_attempts: int
    tags: Sequence[str]
    metadata: Mapping[str, Json]
    batch_id: str
    allow_unknown_task: bool


class ListFilter(TypedDict, total=False):
    """Which jobs to list or count; everything given must hold. Times are RFC 3339.

    `text` is at least three characters of a job's id, task, batch, tags, metadata, error or last message; case does
    not matter.
    """

    status: Sequence[str]
    task: str
    queue: str
    tag: str
    batch: str
    created_after: str
    created_before: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Call(Generic[T]):
    """One request, and `read`, which turns the JSON of a success into a value. `what` names the answer."""

    method: str
    path: str
    what: str
    read: Callable[[Json], T]
    query: Sequence[tuple[str, str]] = ()
    body: bytes | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    empty: bool = False
    """A success has no body."""

    def answer(self, body: bytes) -> T:
        """Read the body of a success. Raises `BadAnswer`."""
        if self.empty:
            return self.read(None)
        try:
            wire = json.loads(body)
        except ValueError:
            raise BadAnswer(
                f"The server did not send {self.what} but something else. Is it a Milepost?"
            ) from None
        return answers.read(self.what, self.read, wire)


def submit(
    task: str,
    params: Mapping[str, Json],
    options: SubmitOptions,
    idempotency_key: str | None,
    job_id: str | None = None,
) -> Call[Job]:
    """Submit a job, under an id of your own if one is given. Raises `BadReport` for params that JSON cannot say.

    Every submission carries an id or a key, so that sending it again after a lost answer cannot start a second job.
    """
    if job_id is not None and idempotency_key is not None:
        raise ValueError("Give job_id or idempotency_key, not both: the id is the key.")
    if job_id is not None and not is_job_id(job_id):
        raise Invalid(
            f"{job_id[:80]!r} can be no id: 1 to 64 of letters, digits, _ and - make one.", status=422
        )
    body: dict[str, Json] = {"task": task, "params": dict(params), **options}
    if "tags" in options:
        body["tags"] = list(options["tags"])
    key = {} if job_id is not None else {"Idempotency-Key": idempotency_key or new_job_id()}
    return Call(
        method="POST" if job_id is None else "PUT",
        path="/v1/jobs" if job_id is None else job_path(job_id),
        what="a job",
        read=Job.from_wire,
        body=dumps(body).encode("ascii"),
        headers={"Content-Type": "application/json", **key},
    )


def get(job_id: str) -> Call[Job]:
    """Read one job."""
    return Call(method="GET", path=job_path(job_id), what="a job", read=Job.from_wire)


def cancel(job_id: str) -> Call[str]:
    """Ask a job to stop."""
    return Call(
        method="POST", path=job_path(job_id, "/cancel"), what="the outcome of a cancel", read=answers.outcome
    )


def retry(job_id: str, idempotency_key: str | None, *, allow_unknown_task: bool) -> Call[Job]:
    """Do a job again; with a key, like a submission."""
    return Call(
        method="POST",
        path=job_path(job_id, "/retry"),
        what="a job",
        read=Job.from_wire,
        body=dumps({"allow_unknown_task": allow_unknown_task}).encode("ascii"),
        headers={"Content-Type": "application/json", "Idempotency-Key": idempotency_key or new_job_id()},
    )


def delete(job_id: str) -> Call[None]:
    """Forget a job that has ended."""
    return Call(
        method="DELETE", path=job_path(job_id), what="an empty answer", read=answers.nothing, empty=True
    )


def bulk(
    what: Bulk, wanted: ListFilter, *, every: bool, dry_run: bool, key: str, cursor: str | None
) -> Call[answers.BulkOutcome]:
    """Do `what` to all jobs of a filter, or to all there are. The key names all of it, in however many calls."""
    query = _filters(wanted)
    query += [("all", "true")] if every else []
    query += [("dry_run", "true")] if dry_run else []
    query += [("cursor", cursor)] if cursor is not None else []
    return Call(
        method="POST",
        path=f"/v1/jobs/{what}",
        what="the outcome of a bulk operation",
        read=answers.bulk,
        query=query,
        headers={"Idempotency-Key": key},
    )


def result(job_id: str) -> Call[Json]:
    """Read what the task returned."""
    return Call(method="GET", path=job_path(job_id, "/result"), what="a result", read=answers.anything)


def tasks() -> Call[tuple[answers.TaskEntry, ...]]:
    """List what can be submitted."""
    return Call(method="GET", path="/v1/tasks", what="a list of tasks", read=answers.tasks)


def events(job_id: str, after: str | None, limit: int) -> Call[answers.EventPage]:
    """Read a page of a job's history."""
    query = [("limit", str(limit)), *([("after", after)] if after else [])]
    path = job_path(job_id, "/events")
    return Call(method="GET", path=path, what="a page of events", read=answers.event_page, query=query)


def stream_token(
    jobs: Sequence[str], tag: str | None, batch: str | None, *, every: bool, ttl_seconds: int | None
) -> Call[answers.StreamToken]:
    """Ask for a token that only reads. Raises `Invalid` unless exactly one selection is named."""
    if [bool(jobs), tag is not None, batch is not None, every].count(True) != 1:
        raise Invalid(
            "Say what the token may read: jobs, tag, batch or every, and one of them only.", status=422
        )
    said: dict[str, Json] = {"jobs": list(jobs) or None, "tag": tag, "batch": batch, "all": every or None}
    body = {name: value for name, value in {**said, "ttl_seconds": ttl_seconds}.items() if value is not None}
    return Call(
        method="POST",
        path="/v1/stream-tokens",
        what="a token",
        read=answers.stream_token,
        body=dumps(body).encode("ascii"),
        headers={"Content-Type": "application/json"},
    )


def jobs(wanted: ListFilter, *, oldest_first: bool, limit: int, cursor: str | None) -> Call[answers.JobPage]:
    """List jobs."""
    query = [*_filters(wanted), ("limit", str(limit))]
    query += [("order", "oldest")] if oldest_first else []
    query += [("cursor", cursor)] if cursor is not None else []
    return Call(method="GET", path="/v1/jobs", what="a list of jobs", read=answers.job_page, query=query)


def counts(wanted: ListFilter) -> Call[answers.JobCounts]:
    """Count jobs by status."""
    return Call(
        method="GET",
        path="/v1/jobs/counts",
        what="numbers of jobs",
        read=answers.counts,
        query=_filters(wanted),
    )


def _filters(wanted: ListFilter) -> list[tuple[str, str]]:
    single: dict[str, Json] = {**wanted, "q": wanted.get("text")}
    several = single.pop("status", ())
    single.pop("text", None)
    return [("status", one) for one in several] + [
        (name, str(value)) for name, value in single.items() if value is not None
    ]


def job_path(job_id: str, rest: str = "") -> str:
    """Return the path of a job. Raises `JobNotFound` for what can be no id: it may hold a slash, or dots."""
    if not is_job_id(job_id):
        raise JobNotFound(f"{job_id[:80]!r} is not the id of a job.")
    return f"/v1/jobs/{job_id}{rest}"


def many_path(job_ids: Sequence[str] | None, tag: str | None, batch: str | None) -> str:
    """Return the path of a stream of many jobs; without anything of all there are.

    Raises `ValueError` when jobs are named and a tag or a batch is given, too.
    """
    if job_ids is not None and (tag is not None or batch is not None):
        raise ValueError("Name jobs, or give a tag or a batch, not both.")
    query = [("job", one) for one in job_ids or ()]
    query += [(name, value) for name, value in (("tag", tag), ("batch", batch)) if value is not None]
    return "/v1/status/stream" + (f"?{urlencode(query)}" if query else "")
