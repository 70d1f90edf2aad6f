"""From a request to an accepted job: what is allowed, what is filled in, what is committed."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Annotated, Any, Self

import structlog
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
from redis.exceptions import RedisError

from milepost.codec import dumps
from milepost.errors import StoreUnavailable
from milepost.ids import new_job_id
from milepost.job import Status
from milepost.log import JobLog
from milepost_api.catalogue import Offer, Offers
from milepost_api.lookup import redis_answers
from milepost_api.problems import Problem
from milepost_api.records import JobRecord, JobStore, KeyTaken, new_job

DAY = 86_400
FAR_DAYS = 60  # a delivery waits 90 days in the queue at most; this leaves room for retries
NESTING = 64  # levels: deeper values break parsers on their way to the task
log = structlog.get_logger()


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
    # Whether an unknown task would have been allowed is not part of the job that came of it.
    meant = submission.model_dump(mode="json", exclude={"allow_unknown_task"})
    if submission.batch_id is None:
        del meant["batch_id"]  # as it was before there were batches: keys of those days keep their meaning
    return hashlib.sha256(dumps(_sorted(meant)).encode()).hexdigest()


def _sorted(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _sorted(value[key]) for key in sorted(value)}
    return [_sorted(one) for one in value] if isinstance(value, list) else value


def new_record(
    submission: Submission, offer: Offer, now: datetime, *, tenant: str, key: str | None = None
) -> JobRecord:
    """Return the record of a submission of `tenant` that is acceptable.

    Raises `Problem`: `invalid-params`, or `invalid-request` for a moment too far away.
    """
    offer.params(submission.params)
    run_at = _run_at(submission, now)
    task = offer.task
    start_timeout = submission.start_timeout_seconds or task.start_timeout_seconds
    return JobRecord(
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
        tenant=tenant,
        idempotency_key=key,
        fingerprint=None if key is None else fingerprint(submission),
        status=Status.SCHEDULED if run_at else Status.QUEUED,
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


@dataclass(frozen=True, slots=True)
class Accepted:
    """A job that is committed, its position in the queue, and whether the same key had brought it before."""

    record: JobRecord
    position: int | None = None
    replayed: bool = False


class Desk:
    """Accepts submissions: committed means accepted."""

    def __init__(self, store: JobStore, joblog: JobLog, offers: Offers, *, answer_seconds: float) -> None:
        self._store, self._log, self._offers, self._seconds = store, joblog, offers, answer_seconds

    async def accept(
        self, submission: Submission, now: datetime, key: str | None, *, tenant: str
    ) -> Accepted:
        """Return the job of this submission, which belongs to `tenant`. Raises `Problem`."""
        if key is not None and (earlier := await self._store.by_key(tenant, key)):
            return await self._replay(earlier, submission)
        async with redis_answers(self._seconds):
            offer = await self._offers.find(submission.task, unknown_allowed=submission.allow_unknown_task)
        record = new_record(submission, offer, now, tenant=tenant, key=key)
        try:
            await self._store.insert(record)
        except KeyTaken:  # a twin of this request was faster; the unique constraint says so
            assert key is not None
            earlier = await self._store.by_key(tenant, key)
            if earlier is None:
                raise StoreUnavailable("The job under this key was just removed; try again.") from None
            return await self._replay(earlier, submission)
        return Accepted(record, await self._hand_over(record))

    async def _replay(self, earlier: JobRecord, submission: Submission) -> Accepted:
        if earlier.fingerprint != fingerprint(submission):
            raise Problem(
                "idempotency-mismatch",
                "This Idempotency-Key came with another body before. Use a new key for a new job.",
                job_id=earlier.id,
            )
        return Accepted(earlier, replayed=True)

    async def _hand_over(self, record: JobRecord) -> int | None:
        """Return its position in the queue, None where that is not known."""
        try:
            async with redis_answers(self._seconds):
                created = await self._log.create(new_job(record))
                return created.position if created else None
        except (StoreUnavailable, RedisError) as error:
            # It is committed, so it is accepted: the dispatcher brings it to Redis when that is back.
            log.warning("accepted, not yet in redis", job_id=record.id, reason=str(error))
            return None
