"""The job log for asyncio: create, take, cancel, read, and what the caretaker needs."""

from __future__ import annotations

from collections.abc import Awaitable, Mapping, Sequence
from secrets import token_hex
from typing import TYPE_CHECKING, Any, cast

from milepost.codec import Cursor, dumps
from milepost.errors import JobNotFound
from milepost.ids import new_epoch
from milepost.job import NO_PROGRESS, ErrorCode, JobError
from milepost.log.calls import CANCELLED_ERROR, Call, ReportCalls, job_call
from milepost.log.evaluate import evaluate, evaluate_all
from milepost.log.keys import LEASES, queue_key, result_key, state_key
from milepost.log.looks import Looks
from milepost.log.peek import OVERDUE_MS
from milepost.log.places import Place, places
from milepost.log.scripts import SCRIPTS
from milepost.log.shapes import CancelOutcome, Claim, Created, NewJob, Taken, View
from milepost.log.state import (
    CLAIM_FIELDS,
    STATE_FIELDS,
    claim_from,
    created_from,
    is_done,
    owner_from,
    view_from,
)
from milepost.secrets import Mask
from milepost.tenants import DEFAULT_TENANT

if TYPE_CHECKING:
    from redis.asyncio import Redis

READ_ENTRIES = 500
READ_BYTES = 1 << 20
_READ_FIELDS = " ".join(("tenant", *STATE_FIELDS))
"""Events fetched at once: a long history arrives in pages, none of which blocks Redis or fills memory for long.

A page ends after the event that reaches the number or the size.
"""

EMPTY_PROGRESS = dumps(NO_PROGRESS.to_wire())

LOST_RETRYABLE = JobError(
    code=ErrorCode.WORKER_LOST,
    message="The worker stopped responding; another attempt follows.",
    retryable=True,
)
LOST_FINAL = JobError(
    code=ErrorCode.WORKER_LOST, message="The worker stopped responding and no attempts are left."
)


class JobLog:
    """All that can happen to jobs in Redis. Safe to share between tasks; one per process is enough.

    `history_limit` is the number of events kept per job (approximately), `retention_seconds` how long a
    finished job stays in Redis.
    """

    def __init__(self, redis: Redis, *, history_limit: int = 2000, retention_seconds: int = 86_400) -> None:
        self._redis = redis
        self.history_limit, self.retention_ms = history_limit, retention_seconds * 1000

    async def create(self, job: NewJob) -> Created | None:
        """Begin the job's history and hand it to the workers. None if it was there already."""
        return created_from(await self.call(self._creation(job)))

    async def create_all(self, jobs: Sequence[NewJob]) -> list[Created | None]:
        """Do the same for many."""
        replies = await self.call_all([self._creation(job) for job in jobs])
        return [created_from(reply) for reply in replies]

    async def create_and_read(self, job: NewJob) -> tuple[Created | None, View | None]:
        """Create it and read it, in one round trip."""
        reply, read = await self.call_all([self._creation(job), _reading(job.id, None, READ_BYTES)])
        return created_from(reply), view_from(job.id, None, read) if read else None

    def _creation(self, job: NewJob) -> Call:
        fields = {
            "task": job.task,
            "params": job.params,
            "queue": job.queue,
            "priority": job.priority,
            "max_attempts": job.max_attempts,
            "timeout_seconds": "" if job.timeout_seconds is None else job.timeout_seconds,
            "tags": dumps(list(job.tags)),
            "metadata": dumps(dict(job.metadata)),
            "created_at": job.created_at,
            "batch_id": job.batch_id or "",
            "parent_id": job.parent_id or "",
            "retry_of": job.retry_of or "",
            "tenant": job.tenant,
            "progress": EMPTY_PROGRESS,
        }
        if job.started_at:  # not empty: `take` writes it where there is none
            fields["started_at"] = job.started_at
        if job.cancel_requested:
            fields["cancel_requested"] = "1"
        flat = [part for pair in fields.items() for part in pair]
        delay, due = max(0, job.delay_ms), job.due_ms or 0
        last = CANCELLED_ERROR if job.cancel_requested else job.error
        error = dumps(last.to_wire()) if last else ""
        how = (delay, due, self.history_limit, self.retention_ms, job.attempt, error)
        return job_call("create", job.id, new_epoch(), *how, *cast("list[str]", flat), result=True)

    async def take(
        self,
        queues: Sequence[str],
        worker: str,
        slots: int,
        *,
        number: int,
        lease_seconds: float,
        room: Mapping[str, int],
        looks: Looks | None = None,
    ) -> Taken:
        """Begin up to `slots` attempts of jobs that are due in `queues`, the first of which has priority.

        `number` counts the requests of this worker: one that is repeated with the same number, because its
        answer was lost, is answered as it was. `room` is how many attempts of each task that the worker knows
        it may begin now, -1 for any number; jobs of other tasks are passed over and keep their place. `looks`
        remembers how far a worker has looked, so that it finds what stands behind a long line of those.
        """
        looks = looks or Looks()
        args: tuple[str | int, ...] = (
            worker,
            number,
            slots,
            round(lease_seconds * 1000),
            self.history_limit,
            EMPTY_PROGRESS,
            dumps(dict(room)),
            *(part for queue in queues for part in looks.next(queue)),
            *CLAIM_FIELDS,
        )
        keys = tuple(queue_key(queue) for queue in queues)
        soon_ms, rows, looked = await self.call(Call(SCRIPTS["take"], keys, args))
        claims = tuple(claim_from(row[0].decode(), row[1], row[2]) for row in rows)
        waits = [looks.looked(queue, *look) for queue, look in zip(queues, looked, strict=False)]
        ended = frozenset(queue for queue, look in zip(queues, looked, strict=False) if look[0] < 0)
        waits.append(None if soon_ms < 0 else soon_ms / 1000)
        return Taken(claims, min((wait for wait in waits if wait is not None), default=None), ended)

    def cover(self, worker: str, number: int, *, lease_seconds: float) -> Call:
        """A heartbeat for what the worker was given by request `number` and has not begun yet."""
        return Call(SCRIPTS["cover"], (), (worker, number, round(lease_seconds * 1000)))

    async def renew(self, claim: Claim, *, lease_seconds: float) -> bool:
        """Lengthen the attempt's lease. False when it has lost the job."""
        reply = await self.call(self.reports(claim).renew(round(lease_seconds * 1000)))
        return reply in (b"ok", b"cancel")

    def reports(self, claim: Claim, mask: Mask | None = None) -> ReportCalls:
        """Return the builder of this attempt's reports, from which `mask` keeps the job's secrets."""
        return ReportCalls(
            claim.job_id,
            claim.fence,
            claim.attempt,
            history_limit=self.history_limit,
            retention_ms=self.retention_ms,
            mask=mask,
        )

    async def cancel(self, job_id: str, *, tenant: str | None = None) -> CancelOutcome:
        """Cancel a waiting job at once, or ask the worker of a running one.

        Raises `JobNotFound`, also for a job that is not of `tenant`; None is whoever may cancel all of them.
        """
        reply = await self.call(self.cancellation(job_id, tenant))
        if reply == b"gone":
            raise JobNotFound
        return cast("CancelOutcome", reply.decode())

    def cancellation(self, job_id: str, tenant: str | None) -> Call:
        """Return the call of a cancel. Sent again, it is answered as before if it is what has cancelled the job."""
        error, owner = dumps(CANCELLED_ERROR.to_wire()), tenant or ""
        how = (self.history_limit, self.retention_ms, error, owner, DEFAULT_TENANT, token_hex(8))
        return job_call("cancel", job_id, *how)

    async def redeliver(self, job_id: str) -> str:
        """Hand a waiting job to the workers again if its delivery was lost, or would never be taken.

        Says what it did: delivered, lined_up, there, not_waiting or gone.
        """
        reply = await self.call(job_call("redeliver", job_id, OVERDUE_MS))
        return str(reply.decode())

    async def lapse(self, job_id: str, *, lease_seconds: float, silence_seconds: float) -> str:
        """Look at one old lease: tell readers of the silence, or retry or end the job. Says what it did."""
        lost = dumps(LOST_RETRYABLE.to_wire()), dumps(LOST_FINAL.to_wire())
        reply = await self.call(
            job_call(
                "lapse",
                job_id,
                round(lease_seconds * 1000),
                round(silence_seconds * 1000),
                self.history_limit,
                self.retention_ms,
                *lost,
                dumps(CANCELLED_ERROR.to_wire()),
            )
        )
        return str(reply.decode())

    async def old_leases(self, *, lease_seconds: float, silence_seconds: float, most: int = 100) -> list[str]:
        """Return jobs whose worker has been silent for `silence_seconds`, the most overdue first."""
        seconds, micros = await self._redis.time()
        before = seconds * 1000 + micros // 1000 + round((lease_seconds - silence_seconds) * 1000)
        found = await self._redis.zrangebyscore(LEASES, "-inf", before, start=0, num=most)
        return [job_id.decode() for job_id in found]

    async def read(self, job_id: str, after: Cursor | None = None, *, tenant: str | None = None) -> View:
        """Return the job and what followed `after`, read in one step.

        Raises `JobNotFound`, also for a job that is not of `tenant`; None is whoever may read all of them.
        """
        [view] = await self.read_all([(job_id, after)])
        if view is None or tenant not in (None, view.tenant):
            raise JobNotFound
        return view

    async def read_all(
        self, asked: Sequence[tuple[str, Cursor | None]], *, most_bytes: int = READ_BYTES
    ) -> list[View | None]:
        """Return the same of many jobs, each read in a step of its own, a page of about `most_bytes`.

        None where there is no such job.
        """
        replies = await self.call_all([_reading(job_id, after, most_bytes) for job_id, after in asked])
        return [
            view_from(job_id, after, reply) if reply else None
            for (job_id, after), reply in zip(asked, replies, strict=True)
        ]

    async def positions(self, job_ids: Sequence[str]) -> list[tuple[str, int, bool] | None]:
        """Return epoch, seq and whether it is done for each job, None where there is none: one round trip."""
        if not job_ids:
            return []
        rows = await self.call(Call(SCRIPTS["positions"], (), tuple(job_ids)))
        return [(row[0].decode(), int(row[1]), is_done(row[2].decode())) if row else None for row in rows]

    async def tenants(self, job_ids: Sequence[str]) -> list[str | None]:
        """Return whose each job is, None where there is no such job: one round trip."""
        if not job_ids:
            return []
        async with self._redis.pipeline(transaction=False) as pipe:
            for job_id in job_ids:
                pipe.hmget(state_key(job_id), ["id", "tenant"])
            rows = await pipe.execute()
        return [owner_from(tenant) if known else None for known, tenant in rows]

    async def places(self, job_ids: Sequence[str]) -> list[Place | None]:
        """Return where each job stands in its queue, None where there is no such job: one round trip."""
        return await places(self._redis, job_ids)

    async def result(self, job_id: str) -> bytes | None:
        """Return the result of a finished job as JSON, large ones too; None where there is none.

        Nor is there one where a large one was evicted: what stands in its place is not the result.
        """
        large = await self._redis.get(result_key(job_id))
        if large is not None:
            return cast("bytes", large)
        omitted, inline = await self._hmget(job_id, "result_omitted", "result")
        return None if omitted == b"1" else inline or None

    async def traceback(self, job_id: str) -> str | None:
        """Return the traceback of a failed job, for operators."""
        [raw] = await self._hmget(job_id, "traceback")
        return raw.decode() if raw else None

    async def call(self, call: Call) -> Any:
        """Run one script, loading it if Redis does not know it (a restart, SCRIPT FLUSH)."""
        return await evaluate(self._redis, call)

    async def call_all(self, calls: Sequence[Call]) -> list[Any]:
        """Run scripts, each a step of its own, in round trips so short that Redis serves others in between."""
        return await evaluate_all(self._redis, calls)

    async def _hmget(self, job_id: str, *names: str) -> list[bytes | None]:
        return await cast("Awaitable[list[bytes | None]]", self._redis.hmget(state_key(job_id), list(names)))


def _reading(job_id: str, after: Cursor | None, most_bytes: int) -> Call:
    epoch, seq = (after.epoch, after.seq) if after else ("", 0)
    return job_call("read", job_id, epoch, seq, READ_ENTRIES, most_bytes, _READ_FIELDS)
