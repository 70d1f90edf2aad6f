"""Opening the jobs of one stream: in few round trips, beside the stream, which goes on meanwhile."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterable, Sequence
from typing import Protocol

import structlog
from redis.asyncio import Redis
from redis.exceptions import RedisError

from milepost.errors import JobNotFound, StoreUnavailable
from milepost.ids import is_job_id
from milepost.log.bookmarks import NEW
from milepost.log.peek import Peek, peek
from milepost.redis import UNREACHABLE
from milepost_api.hub import PART, AlreadyEnded, Hub, Recalled, Subscription, subscribe
from milepost_api.hub.views import from_record
from milepost_api.lookup import redis_answers
from milepost_api.many.ledger import MISSING

log = structlog.get_logger("milepost.many")

PEEKED_AT_ONCE = 100
OPENED_AT_ONCE = 16
"""Jobs of all streams of a process that are being opened: each takes a connection to Redis for a moment."""
AGAIN_SECONDS = 1.0
AWAY = (StoreUnavailable, RedisError, *UNREACHABLE)

Asked = tuple[str, str]
"""A job, and the cursor to go on after, or `NEW`."""


class Takes(Protocol):
    """The stream that the jobs are opened for."""

    closed: bool

    def opened(self, job_id: str, subscription: Subscription) -> None:
        """Take a job that is open, or ended and not told yet."""

    def is_over(self, job_id: str, status: str) -> None:
        """The reader has the end of this job already."""

    def is_missing(self, job_id: str) -> None:
        """There is no such job for this reader."""

    def failed(self) -> None:
        """Jobs cannot be opened: there is a fault in here."""


class Doors:
    """What all streams of a process open their jobs with."""

    def __init__(self, hub: Hub, redis: Redis, *, answer_seconds: float) -> None:
        self.hub, self._redis, self._seconds = hub, redis, answer_seconds
        self.turn = asyncio.Semaphore(OPENED_AT_ONCE)
        self.tasks: set[asyncio.Task[None]] = set()

    async def peek(self, job_ids: Sequence[str], tenant: str) -> list[Peek | None]:
        """Return the jobs of this tenant as the log has them. Raises `StoreUnavailable`."""
        async with redis_answers(self._seconds):
            return await peek(self._redis, job_ids, tenant=tenant)


class Opening:
    """Its task lives while there are jobs to open, and is never cancelled in the middle of a reply of Redis."""

    def __init__(self, doors: Doors, tenant: str, stream: Takes) -> None:
        self._doors, self._tenant, self._stream = doors, tenant, stream
        self._queue: deque[Asked] = deque()
        self._task: asyncio.Task[None] | None = None

    def add(self, jobs: Iterable[Asked]) -> None:
        """Open these, too."""
        self._queue.extend(jobs)
        if self._queue and self._task is None:
            self._task = asyncio.create_task(self._run())
            self._doors.tasks.add(self._task)
            self._task.add_done_callback(self._ended)

    async def _run(self) -> None:
        while self._queue and not self._stream.closed:
            some = [self._queue.popleft() for _ in range(min(PEEKED_AT_ONCE, len(self._queue)))]
            again = await self._open(some)
            if again:  # the others go on meanwhile; these are opened as soon as that is possible
                self._queue.extend(again)
                await asyncio.sleep(AGAIN_SECONDS)

    async def _open(self, some: Sequence[Asked]) -> list[Asked]:
        """Open some jobs. Returns those that could not be: Redis is away, or has lost them and is given them back."""
        try:
            left = await self._already_done(some)
        except AWAY as error:
            log.debug("many.peek_failed", error=str(error))
            return list(some)
        again: list[Asked] = []
        async with asyncio.TaskGroup() as group:
            for one in left:
                group.create_task(self._open_one(one, again))
        return again

    async def _already_done(self, some: Sequence[Asked]) -> list[Asked]:
        """Take all that have ended and of which the reader knows nothing: one round trip. Returns the others."""
        new = [job_id for job_id, cursor in some if cursor == NEW and is_job_id(job_id)]
        seen = dict(zip(new, await self._doors.peek(new, self._tenant), strict=True))
        left: list[Asked] = []
        for job_id, cursor in some:
            one = seen.get(job_id)
            if one is None or not one.job.done:
                left.append((job_id, cursor))
            else:
                self._stream.opened(job_id, _told(self._doors.hub, Recalled(one.job, one.cursor)))
        return left

    async def _open_one(self, asked: Asked, again: list[Asked]) -> None:
        job_id, cursor = asked
        async with self._doors.turn:
            if self._stream.closed:
                return
            try:
                await self._try(job_id, cursor)
            except JobNotFound:
                self._stream.is_missing(job_id)
            except AWAY as error:
                log.debug("many.job_not_opened", job_id=job_id, error=str(error))
                again.append(asked)

    async def _try(self, job_id: str, cursor: str) -> None:
        if not is_job_id(job_id):
            raise JobNotFound
        try:
            opened = await subscribe(self._doors.hub, job_id, cursor or None, PART, tenant=self._tenant)
        except AlreadyEnded:
            self._stream.is_over(job_id, await self._status(job_id))
        else:
            self._stream.opened(job_id, opened)

    async def _status(self, job_id: str) -> str:
        [seen] = await self._doors.peek([job_id], self._tenant)
        if seen is not None:
            return str(seen.job.status)
        recalled = await self._doors.hub.memory.recall(job_id, self._tenant)
        return str(recalled.job.status) if recalled else MISSING

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._doors.tasks.discard(task)
        self._task = None
        error = None if task.cancelled() else task.exception()
        if error is not None:
            log.error("many.bug", exc_info=error)
            self._stream.failed()
        elif not self._stream.closed:
            self.add(())  # what came after the task had looked for the last time


def _told(hub: Hub, recalled: Recalled) -> Subscription:
    first = from_record(hub, recalled)
    return Subscription(hub, None, first, first[-1].seq, PART)
