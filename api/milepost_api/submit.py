"""From a request to the record of a job: what is allowed, what is filled in, by what a repetition is known."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Annotated, Any, Self

from annotated_types import Ge, Gt, Le, MaxLen, MinLen
from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    ConfigDict,
    StrictFloat,
    StrictInt,
    model_validator,
)
from pydantic import StringConstraints as Text

from milepost.codec import dumps
from milepost.ids import new_job_id
from milepost.job import Status
from milepost_api.catalogue import Offer
from milepost_api.problems import Problem
from milepost_api.records import JobRecord, fresh_record

DAY = 86_400
FAR_DAYS = 60  # a delivery waits 90 days in the queue at most; this leaves room for retries
NESTING = 64  # levels: deeper values break parsers on their way to the task


def _sendable(value: dict[str, Any]) -> dict[str, Any]:
    level: list[Any] = [value]
    for _ in range(NESTING):
        level = [inner for outer in level for inner in _inside(outer)]
        if not level:
            dumps(value)  # refuses NaN, which Python reads as JSON and nobody else does
            return value
    raise ValueError(f"This nests more than {NESTING} levels deep")


def _inside(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return list(value.values())
    return value if isinstance(value, list) else []


Name = Text(pattern=r"^[0-9A-Za-z_.:-]{1,64}$")
Plain = Text(pattern=r"^[^\x00-\x1f\x7f\"\\]+$", max_length=128)
JsonObject = Annotated[dict[str, Any], AfterValidator(_sendable)]
Seconds = Annotated[StrictFloat, Gt(0), Le(30 * DAY)]


class Submission(BaseModel):
    """A job to run: which task, with what, when. What is left out comes from the task's own definition."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False, frozen=True)

    task: Annotated[str, MinLen(1), MaxLen(200)]
    params: JsonObject = {}
    allow_unknown_task: bool = False
    queue: Annotated[str, Name] | None = None
    priority: Annotated[StrictInt, Ge(-10), Le(10)] = 0
    delay_seconds: Annotated[StrictFloat, Ge(0), Le(FAR_DAYS * DAY)] | None = None
    run_at: AwareDatetime | None = None
    timeout_seconds: Seconds | None = None
    start_timeout_seconds: Seconds | None = None
    max_attempts: Annotated[StrictInt, Ge(1), Le(100)] | None = None
    tags: Annotated[list[Annotated[str, Plain]], MaxLen(32)] = []
    batch_id: Annotated[str, Name] | None = None
    metadata: JsonObject = {}

    @model_validator(mode="after")
    def _one_moment(self) -> Self:
        if self.delay_seconds is not None and self.run_at is not None:
            raise ValueError("Give delay_seconds or run_at, not both")
        return self


def fingerprint(submission: Submission) -> str:
    """Return what tells two submissions apart: what they mean, not how they were written."""
    # Whether an unknown task would have been allowed is not part of the job that came of it. What is at its default
    # is left out, so that a field which a later version adds changes nobody's fingerprint.
    meant = submission.model_dump(mode="json", exclude={"allow_unknown_task"}, exclude_defaults=True)
    return _digest(meant)


def fingerprint_of_retry(job_id: str) -> str:
    """Return the same for doing a job again: no submission has it."""
    return _digest({"retry_of": job_id})


def _digest(meant: dict[str, Any]) -> str:
    return hashlib.sha256(dumps(_sorted(meant)).encode()).hexdigest()


def _sorted(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _sorted(value[key]) for key in sorted(value)}
    return [_sorted(one) for one in value] if isinstance(value, list) else value


@dataclass(frozen=True, slots=True)
class Ticket:
    """Who asks for a job, and by what the same request is known when it is sent again: a key, or the id it chose.

    `fingerprint` is None for a request that has neither.
    """

    tenant: str
    fingerprint: str | None = None
    key: str | None = None
    job_id: str | None = None

    def on(self, record: JobRecord) -> JobRecord:
        """Write it on a new record."""
        record.tenant, record.idempotency_key = self.tenant, self.key
        record.fingerprint = self.fingerprint
        record.id = self.job_id or record.id
        return record


def new_record(submission: Submission, offer: Offer, now: datetime) -> JobRecord:
    """Return the record of a submission that is acceptable.

    Raises `Problem`: `invalid-params`, or `invalid-request` for a moment too far away.
    """
    offer.params(submission.params)
    run_at = _run_at(submission, now)
    task = offer.task
    start_timeout = submission.start_timeout_seconds or task.start_timeout_seconds
    return fresh_record(
        id=new_job_id(),
        task=task.name,
        params=dumps(submission.params),
        queue=submission.queue or task.queue,
        priority=submission.priority,
        tags=list(dict.fromkeys(submission.tags)),
        meta=submission.metadata,
        batch_id=submission.batch_id,
        max_attempts=submission.max_attempts or task.max_attempts,
        timeout_seconds=submission.timeout_seconds or task.timeout_seconds,
        start_timeout_seconds=start_timeout,
        created_at=now,
        run_at=run_at,
        start_by=None if start_timeout is None else (run_at or now) + timedelta(seconds=start_timeout),
        status=Status.SCHEDULED if run_at else Status.QUEUED,
    )


def repeated(earlier: JobRecord, offer: Offer, now: datetime) -> JobRecord:
    """Return the record of a job that does `earlier` again, at once. Raises `Problem` (`invalid-params`)."""
    offer.params(json.loads(earlier.params))
    start_timeout = earlier.start_timeout_seconds
    return fresh_record(
        id=new_job_id(),
        created_at=now,
        start_by=None if start_timeout is None else now + timedelta(seconds=start_timeout),
        retry_of=earlier.id,
        **{name: getattr(earlier, name) for name in _REPEATED},
    )


_REPEATED = (
    *("task", "params", "queue", "priority", "tags", "meta", "batch_id"),
    *("max_attempts", "timeout_seconds", "start_timeout_seconds"),
)


def _run_at(submission: Submission, now: datetime) -> datetime | None:
    run_at = submission.run_at
    if submission.delay_seconds:
        run_at = now + timedelta(seconds=submission.delay_seconds)
    if run_at is not None and run_at > now + timedelta(days=FAR_DAYS):
        detail = f"A job can be scheduled at most {FAR_DAYS} days ahead."
        raise Problem(
            "invalid-request", detail, errors=[{"in": "body", "path": "$.run_at", "detail": detail}]
        )
    if run_at is None or run_at <= now:
        return None
    return run_at.replace(microsecond=run_at.microsecond // 1000 * 1000)  # as the log keeps it
