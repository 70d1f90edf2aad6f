"""Where jobs are accepted: committed means accepted, and the same request means the same job."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime

import structlog
from redis.exceptions import RedisError

from milepost.errors import StoreUnavailable
from milepost.log import JobLog
from milepost_api.catalogue import Offer, Offers
from milepost_api.hub import Foreseen
from milepost_api.lookup import redis_answers
from milepost_api.problems import Problem
from milepost_api.records import IdTaken, JobRecord, JobStore, KeyTaken, new_job
from milepost_api.submit import Submission, Ticket, fingerprint, fingerprint_of_retry, new_record, repeated

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Accepted:
    """A job that is committed, its position in the queue, and whether the same request had brought it before."""

    record: JobRecord
    position: int | None = None
    replayed: bool = False


class Desk:
    """Accepts jobs. All raise `Problem` for what cannot be accepted.

    `foresee` is told of each before it is committed, and how it is once it is in the log.
    """

    def __init__(
        self,
        store: JobStore,
        joblog: JobLog,
        offers: Offers,
        foresee: Callable[[str], Foreseen],
        *,
        answer_seconds: float,
    ) -> None:
        self._store, self._log, self._offers, self._foresee = store, joblog, offers, foresee
        self._seconds = answer_seconds

    async def accept(
        self,
        submission: Submission,
        now: datetime,
        *,
        tenant: str,
        key: str | None = None,
        job_id: str | None = None,
    ) -> Accepted:
        """Return the job of this submission, which belongs to `tenant`; with a `job_id`, the job of that id."""

        async def record() -> JobRecord:
            unknown_allowed = submission.allow_unknown_task
            offer = await self._offer(submission.task, unknown_allowed=unknown_allowed)
            try:
                return new_record(submission, offer, now)
            except Problem:  # what is kept may be of before a deploy
                newest = await self._offer(submission.task, unknown_allowed=unknown_allowed, newest=True)
                if newest is offer:
                    raise
                return new_record(submission, newest, now)

        same = None if key is None and job_id is None else fingerprint(submission)
        return await self._once(Ticket(tenant, same, key, job_id), record)

    async def again(
        self,
        job_id: str,
        find: Callable[[], Awaitable[JobRecord]],
        now: datetime,
        *,
        tenant: str,
        key: str | None = None,
        unknown_allowed: bool = False,
    ) -> Accepted:
        """Return a new job that does the job of this id again. `find` returns its record, if it may be done again.

        It is not asked when the key has brought the new job before: that answer holds, whatever became of the old job.
        """

        async def record() -> JobRecord:
            earlier = await find()
            return repeated(earlier, await self._offer(earlier.task, unknown_allowed=unknown_allowed), now)

        same = None if key is None else fingerprint_of_retry(job_id)
        return await self._once(Ticket(tenant, same, key), record)

    async def _offer(self, task: str, *, unknown_allowed: bool, newest: bool = False) -> Offer:
        async with redis_answers(self._seconds):
            return await self._offers.find(task, unknown_allowed=unknown_allowed, newest=newest)

    async def _once(self, ticket: Ticket, make: Callable[[], Awaitable[JobRecord]]) -> Accepted:
        while True:
            if (earlier := await self._earlier(ticket)) is not None:
                return Accepted(_same(earlier, ticket), replayed=True)
            record = ticket.on(await make())
            with self._foresee(record.id) as foreseen:
                try:
                    await self._store.insert(record)
                except (KeyTaken, IdTaken):
                    continue  # a twin of this request was faster; its job is there, or was deleted again
                return Accepted(record, await self._hand_over(record, foreseen))

    async def _earlier(self, ticket: Ticket) -> JobRecord | None:
        if ticket.job_id is not None:
            return await self._store.get(ticket.job_id)
        return None if ticket.key is None else await self._store.by_key(ticket.tenant, ticket.key)

    async def _hand_over(self, record: JobRecord, foreseen: Foreseen) -> int | None:
        """Return its position in the queue, None where that is not known."""
        job = new_job(record)
        try:
            async with redis_answers(self._seconds):
                if foreseen.heard:
                    created, view = await self._log.create_and_read(job)
                    foreseen.tell(view)
                else:
                    created = await self._log.create(job)
                return created.position if created else None
        except (StoreUnavailable, RedisError) as error:
            # It is committed, so it is accepted: the dispatcher brings it to Redis when that is back.
            log.warning("accepted, not yet in redis", job_id=record.id, reason=str(error))
            return None


def _same(earlier: JobRecord, ticket: Ticket) -> JobRecord:
    """Return the earlier job if it came of the same request. Raises `Problem`."""
    if earlier.tenant != ticket.tenant:
        raise Problem("id-taken", "This id is taken. Choose another one.")
    if earlier.fingerprint == ticket.fingerprint:
        return earlier
    if ticket.job_id is not None:
        raise Problem(
            "id-taken",
            "There is a job with this id already, and it came with another body. Choose another id for another job.",
            job_id=earlier.id,
        )
    raise Problem(
        "idempotency-mismatch",
        "This Idempotency-Key came with another request before. Use a new key for a new job.",
        job_id=earlier.id,
    )
