"""What the API's background work needs of Redis besides the life of jobs."""

from __future__ import annotations

from collections.abc import Awaitable
from contextlib import suppress
from dataclasses import dataclass
from secrets import token_hex
from typing import TYPE_CHECKING, cast

from redis.exceptions import LockError, NoScriptError, WatchError

from milepost.codec import dumps
from milepost.job import ErrorCode, Job, JobError
from milepost.log.calls import end_args, job_call
from milepost.log.keys import CARETAKER, GENERATION, KEEPSAKE

if TYPE_CHECKING:
    from redis.asyncio import Redis

    from milepost.log.joblog import JobLog

_RETURNING, _NO_GENERATION = b"returning ", b"none"
NOT_STARTED = "No worker began this job within its start_timeout_seconds."


async def expire_unstarted(
    joblog: JobLog, job_id: str, why: str = NOT_STARTED, *, patience_seconds: float = 0
) -> str:
    """End a job that was not begun in time; `why` tells people. Says what it did: expired, begun, early or gone.

    `patience_seconds` since it was due must have passed by Redis's clock: whoever asks may have a wrong one.
    """
    error = dumps(JobError(code=ErrorCode.START_TIMEOUT, message=why).to_wire())
    patience_ms = round(patience_seconds * 1000)
    call = job_call("expire", job_id, joblog.history_limit, joblog.retention_ms, error, patience_ms)
    reply = await joblog.call(call)
    return str(reply.decode())


async def settle(joblog: JobLog, job: Job, result: str | None = None) -> str:
    """Give a job that lives in the log the end it had before Redis forgot it. Says: settled, done or gone.

    `result` is JSON; None where there is none, or where a large one is lost, which `job.result_omitted` tells.
    """
    absent = "" if job.result_omitted else "null"
    ended = end_args(job.status, job.attempt, job.progress, result or absent, job.error)
    call = job_call(
        "settle",
        job.id,
        joblog.history_limit,
        joblog.retention_ms,
        *ended,
        "attempt",
        job.attempt,
        result=True,
    )
    reply = await joblog.call(call)
    return str(reply.decode())


class Turn:
    """Whose turn it is: at most one process holds it, and a dead one loses it after `seconds`."""

    def __init__(self, redis: Redis, *, seconds: float) -> None:
        self._lock = redis.lock(CARETAKER, timeout=seconds, blocking=False, thread_local=False)

    async def take_or_keep(self) -> bool:
        """Hold the turn for `seconds` from now on. False when another process has it."""
        try:
            if await self._lock.owned():
                return bool(await self._lock.reacquire())
        except LockError:
            pass  # lost between the two commands: perhaps it can be had again
        except NoScriptError:
            return False  # Redis was restarted twice within a moment; the next look knows
        return bool(await self._lock.acquire())

    async def give_up(self) -> None:
        """Let another process have it at once."""
        with suppress(LockError):  # it was not ours any more, which is what giving up wants
            await self._lock.release()


@dataclass(frozen=True, slots=True)
class Loss:
    """One pass over all jobs: what stands for it in Redis, and the generation that it has looked at."""

    token: bytes
    generation: bytes


class Keepsake:
    """Something left in Redis that names its generation: when that is another, or gone, jobs may have been lost.

    It is left again when everything is back, so a process that dies while it brings things back leaves none.
    """

    def __init__(self, redis: Redis) -> None:
        self._redis = redis

    async def is_there(self) -> bool:
        """Whether nothing can have been lost since it was left. False on a Redis that has never had one, too."""
        async with self._redis.pipeline(transaction=False) as pipe:
            pipe.get(KEEPSAKE)
            pipe.get(GENERATION)
            found, generation = await pipe.execute()
        return bool(found == (generation or _NO_GENERATION))

    async def lost(self) -> Loss:
        """Say that everything is being brought back. Returns what to `leave` it with."""
        loss = Loss(_RETURNING + token_hex(8).encode(), await self._redis.get(GENERATION) or _NO_GENERATION)
        await self._redis.set(KEEPSAKE, loss.token)
        return loss

    async def leave(self, loss: Loss) -> bool:
        """Say that everything is back. False when Redis has lost it all again since `lost`, or another began anew."""
        async with self._redis.pipeline(transaction=True) as pipe:
            await pipe.watch(KEEPSAKE)
            if await cast("Awaitable[bytes | None]", pipe.get(KEEPSAKE)) != loss.token:
                return False
            pipe.multi()  # type: ignore[no-untyped-call]
            pipe.set(KEEPSAKE, loss.generation)
            try:
                await pipe.execute()
            except WatchError:
                return False
        return True
