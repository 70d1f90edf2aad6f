"""The job log for asyncio: create, take, cancel, read, and what the caretaker needs."""

from __future__ import annotations

import json
import re
from collections.abc import Awaitable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, cast

from milepost.codec import Cursor, dumps
from milepost.errors import JobNotFound
from milepost.ids import new_epoch
from milepost.job import NO_PROGRESS, ErrorCode, Job, JobError, parse_status
from milepost.log.calls import CANCELLED_ERROR, Call, ReportCalls, job_call
from milepost.log.evaluate import evaluate, evaluate_all
from milepost.log.keys import LEASES, queue_key, result_key, state_key
from milepost.log.looks import Looks
from milepost.log.places import Place, places
from milepost.log.scripts import SCRIPTS
from milepost.secrets import Mask
from milepost.tenants import DEFAULT_TENANT

if TYPE_CHECKING:
    from redis.asyncio import Redis

READ_ENTRIES = 500
READ_BYTES = 1 << 20
"""Events fetched at once: a long history arrives in pages, none of which blocks Redis or fills memory for long.

A page ends after the event that reaches the number or the size.
"""

CREATED_AT_ONCE = 25
"""Redis serves nobody else while it goes through a pipeline of 50 kB, and creating a job takes it about 0.1 ms."""

EMPTY_PROGRESS = dumps(NO_PROGRESS.to_wire())

LOST_RETRYABLE = JobError(
    code=ErrorCode.WORKER_LOST,
    message="The worker stopped responding; another attempt follows.",
    retryable=True,
)
LOST_FINAL = JobError(
    code=ErrorCode.WORKER_LOST, message="The worker stopped responding and no attempts are left."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class NewJob:
    """What the log must know of an accepted job; `params` are JSON already. Times in seconds."""

    id: str
    task: str
    params: str = "{}"
    queue: str = "default"
    priority: int = 0
    max_attempts: int = 1
    timeout_seconds: float | None = None
    tags: Sequence[str] = ()
    metadata: Mapping[str, Any] = field(default_factory=dict)
    created_at: str
    due_ms: int | None = None
    """When to run it, in ms since 1970; None: after `delay_ms`."""
    delay_ms: int = 0
    batch_id: str | None = None
    parent_id: str | None = None
    retry_of: str | None = None
    tenant: str = DEFAULT_TENANT
    attempt: int = 0
    """Attempts that it has used up: of a job that Redis has lost."""
    error: JobError | None = None
    """What became of the last of them: the job comes back as `retrying`, or ends when none are left."""
    started_at: str | None = None


@dataclass(frozen=True, slots=True)
class Created:
    """A job has begun its history; `position` is its place in the queue, from 1, None if it is not due yet."""

    position: int | None


@dataclass(frozen=True, slots=True)
class Claim:
    """An attempt that holds its job: everything needed to run it. `fence` tells it from all others."""

    job_id: str
    task: str
    params: dict[str, Any]
    queue: str
    fence: int
    attempt: int
    max_attempts: int
    timeout_seconds: float | None
    waited_seconds: float = field(default=0.0, compare=False)
    """From due to taken, by Redis's clock."""
    checkpoint: str | None = None
    """What the last attempt that kept something kept, as JSON."""


@dataclass(frozen=True, slots=True)
class Taken:
    """The attempts that a worker has begun. `soon_seconds` until there is more to find, None if nothing is known.

    `ended`: the queues that were looked through to the end of what is due.
    """

    claims: tuple[Claim, ...]
    soon_seconds: float | None
    ended: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Entry:
    """One event as the history holds it: its cursor, its type, its JSON (one ASCII line)."""

    cursor: Cursor
    kind: str
    data: bytes

    @property
    def seq(self) -> int:
        return self.cursor.seq


@dataclass(frozen=True, slots=True)
class View:
    """The job and the history after a cursor, of one moment.

    The cursor may be of an epoch from which this history branched later. `gap` says why it could not be served
    (see `milepost.events.Gap`); then `entries` is empty and the reader starts again from `job`. `more` says that
    the history goes on after the last entry.
    """

    job: Job
    cursor: Cursor
    at: str
    entries: tuple[Entry, ...]
    gap: str | None
    more: bool
    tenant: str


_STATE_FIELDS = (
    "task",
    "queue",
    "priority",
    "max_attempts",
    "tags",
    "metadata",
    "created_at",
    "batch_id",
    "parent_id",
    "retry_of",
    "status",
    "attempt",
    "progress",
    "heartbeat_at",
    "stalled",
    "cancel_requested",
    "result",
    "result_omitted",
    "error",
    "run_at",
    "started_at",
    "finished_at",
    "expires_at",
)
_CLAIM_FIELDS = ("task", "params", "queue", "max_attempts", "timeout_seconds", "checkpoint")

CancelOutcome = Literal["cancelled", "requested", "already_done"]


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
        return _created(await self.call(self._creation(job)))

    async def create_all(self, jobs: Sequence[NewJob]) -> list[Created | None]:
        """Do the same for many, `CREATED_AT_ONCE` in a round trip."""
        found: list[Created | None] = []
        for start in range(0, len(jobs), CREATED_AT_ONCE):
            calls = [self._creation(job) for job in jobs[start : start + CREATED_AT_ONCE]]
            found += [_created(reply) for reply in await evaluate_all(self._redis, calls)]
        return found

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
        flat = [part for pair in fields.items() for part in pair]
        delay, due = max(0, job.delay_ms), job.due_ms or 0
        error = dumps(job.error.to_wire()) if job.error else ""
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
            *_CLAIM_FIELDS,
        )
        keys = tuple(queue_key(queue) for queue in queues)
        soon_ms, rows, looked = await self.call(Call(SCRIPTS["take"], keys, args))
        claims = tuple(_claim(row[0].decode(), row[1], row[2]) for row in rows)
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
        """Return the call of a cancel."""
        error, owner = dumps(CANCELLED_ERROR.to_wire()), tenant or ""
        how = (self.history_limit, self.retention_ms, error, owner, DEFAULT_TENANT)
        return job_call("cancel", job_id, *how)

    async def redeliver(self, job_id: str) -> str:
        """Hand a waiting job to the workers again if its delivery was lost. Says what it did."""
        reply = await self.call(job_call("redeliver", job_id))
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
        epoch, seq = (after.epoch, after.seq) if after else ("", 0)
        reply = await self.call(
            job_call("read", job_id, epoch, seq, READ_ENTRIES, READ_BYTES, "tenant", *_STATE_FIELDS)
        )
        if not reply:
            raise JobNotFound
        owner, *state = reply[4]
        if tenant not in (None, _owner(owner)):
            raise JobNotFound
        here = Cursor(reply[0].decode(), int(reply[1]))
        entries = tuple(_entry(raw) for raw in reply[5])
        return View(
            job=_job(job_id, here.seq, state, _position(reply, 7)),
            cursor=here,
            at=reply[3].decode(),
            entries=entries,
            gap=_gap(after, here, oldest=int(reply[2]), known=reply[6] == 1) if after else None,
            more=bool(entries) and entries[-1].seq < here.seq,
            tenant=_owner(owner),
        )

    async def positions(self, job_ids: Sequence[str]) -> list[tuple[str, int, bool] | None]:
        """Return epoch, seq and whether it is done for each job, None where there is none: one round trip."""
        async with self._redis.pipeline(transaction=False) as pipe:
            for job_id in job_ids:
                pipe.hmget(state_key(job_id), ["epoch", "seq", "status"])
            rows = await pipe.execute()
        return [
            (epoch.decode(), int(seq), _is_done(status.decode())) if epoch else None
            for epoch, seq, status in rows
        ]

    async def tenants(self, job_ids: Sequence[str]) -> list[str | None]:
        """Return whose each job is, None where there is no such job: one round trip."""
        if not job_ids:
            return []
        async with self._redis.pipeline(transaction=False) as pipe:
            for job_id in job_ids:
                pipe.hmget(state_key(job_id), ["id", "tenant"])
            rows = await pipe.execute()
        return [_owner(tenant) if known else None for known, tenant in rows]

    async def places(self, job_ids: Sequence[str]) -> list[Place | None]:
        """Return where each job stands in its queue, None where there is no such job: one round trip."""
        return await places(self._redis, job_ids)

    async def result(self, job_id: str) -> bytes | None:
        """Return the result of a finished job as JSON, large ones too; None where there is none."""
        large = await self._redis.get(result_key(job_id))
        if large is not None:
            return cast("bytes", large)
        return await self._hget(job_id, "result") or None

    async def traceback(self, job_id: str) -> str | None:
        """Return the traceback of a failed job, for operators."""
        raw = await self._hget(job_id, "traceback")
        return raw.decode() if raw else None

    async def call(self, call: Call) -> Any:
        """Run one script, loading it if Redis does not know it (a restart, SCRIPT FLUSH)."""
        return await evaluate(self._redis, call)

    async def call_all(self, calls: Sequence[Call]) -> list[Any]:
        """Run scripts in one round trip, each a step of its own: Redis is busy for as long as all of them take."""
        return await evaluate_all(self._redis, calls)

    async def _hget(self, job_id: str, name: str) -> bytes | None:
        return await cast("Awaitable[bytes | None]", self._redis.hget(state_key(job_id), name))


_EPOCH = re.compile(rb'"cursor":"([0-9a-z]+)-')


def _created(reply: Sequence[Any]) -> Created | None:
    return Created(_position(reply, 2)) if reply[0] == b"created" else None


def _entry(raw: Sequence[Any]) -> Entry:
    position, (_, kind, _, data) = raw
    found = _EPOCH.search(data)  # the history may have branched since: the event says where it was written
    assert found is not None, f"an event without a cursor: {data[:200]!r}"
    return Entry(Cursor(found[1].decode(), int(position.split(b"-")[0])), kind.decode(), data)


def _position(reply: Sequence[Any], place: int) -> int | None:
    """A false of Lua at the end of an array comes as None, or not at all."""
    return reply[place] if len(reply) > place else None


def _claim(job_id: str, values: Sequence[bytes | None], waited_ms: int) -> Claim:
    *said, checkpoint = values
    fence, attempt, task, params, queue, max_attempts, timeout = ((value or b"").decode() for value in said)
    return Claim(
        job_id=job_id,
        task=task,
        params=json.loads(params),
        queue=queue,
        fence=int(fence),
        attempt=int(attempt),
        max_attempts=int(max_attempts),
        timeout_seconds=float(timeout) if timeout else None,
        waited_seconds=waited_ms / 1000,
        checkpoint=None if checkpoint is None else checkpoint.decode(),
    )


def _gap(after: Cursor, here: Cursor, *, oldest: int, known: bool) -> str | None:
    if not known:
        return "epoch"
    if after.seq > here.seq:
        return "ahead"
    return "trimmed" if after.seq < here.seq and oldest > after.seq + 1 else None


def _owner(raw: bytes | None) -> str:
    """Return the tenant of a job by its state field, which a job from before there were tenants does not have."""
    return raw.decode() if raw else DEFAULT_TENANT


def _is_done(status: str) -> bool:
    parsed = parse_status(status)
    return getattr(parsed, "is_terminal", False)


def _job(job_id: str, seq: int, values: Sequence[bytes | None], position: int | None = None) -> Job:
    state = {name: (raw or b"").decode() for name, raw in zip(_STATE_FIELDS, values, strict=True)}

    def parsed(name: str) -> Any:
        return json.loads(state[name]) if state[name] else None

    return Job.from_wire(
        {
            "id": job_id,
            "task": state["task"],
            "status": state["status"],
            "done": _is_done(state["status"]),
            "version": seq,
            "attempt": int(state["attempt"] or 0),
            "max_attempts": int(state["max_attempts"] or 1),
            "queue": state["queue"],
            "priority": int(state["priority"] or 0),
            "tags": parsed("tags"),
            "metadata": parsed("metadata") or {},
            "progress": parsed("progress"),
            "queue_position": position,
            "heartbeat_at": state["heartbeat_at"] or None,
            "stalled": state["stalled"] == "1",
            "cancel_requested": state["cancel_requested"] == "1",
            "result": parsed("result"),
            "result_omitted": state["result_omitted"] == "1",
            "error": parsed("error"),
            "created_at": state["created_at"] or None,
            "run_at": state["run_at"] or None,
            "started_at": state["started_at"] or None,
            "finished_at": state["finished_at"] or None,
            "expires_at": state["expires_at"] or None,
            "batch_id": state["batch_id"] or None,
            "parent_id": state["parent_id"] or None,
            "retry_of": state["retry_of"] or None,
        }
    )
