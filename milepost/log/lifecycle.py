"""The stream of the `status` and `end` events of all jobs, read by a group: each goes to one recorder."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from redis.exceptions import ResponseError

from milepost.log.keys import LIFECYCLE, result_key, state_key

if TYPE_CHECKING:
    from redis.asyncio import Redis

GROUP = "recorder"
FORGOTTEN_MS = 3_600_000  # a consumer that is idle for so long and owes nothing was a process of the past


@dataclass(frozen=True, slots=True)
class LifecycleEntry:
    """One event and its place in the stream; `event` is None when it is not readable."""

    id: str
    event: dict[str, Any] | None


@dataclass(frozen=True, slots=True)
class Outcome:
    """What the log still has of a finished job and its `end` event does not carry. `result` is JSON."""

    result: str | None
    traceback: str | None
    expires_at: str | None


class Lifecycle:
    """One consumer of the group. An event that was given out and not `recorded` is given out again."""

    def __init__(self, redis: Redis, consumer: str) -> None:
        self._redis, self._consumer = redis, consumer

    async def join(self) -> None:
        """Make the group if there is none, and remove consumers of the past."""
        try:
            await self._redis.xgroup_create(LIFECYCLE, GROUP, id="0", mkstream=True)
        except ResponseError as error:
            if "BUSYGROUP" not in str(error):
                raise
        for one in await self._redis.xinfo_consumers(LIFECYCLE, GROUP):
            if not one["pending"] and one["idle"] > FORGOTTEN_MS:
                await self._redis.xgroup_delconsumer(LIFECYCLE, GROUP, one["name"])

    async def owed(self, most: int) -> list[LifecycleEntry]:
        """Return what this consumer was given before and did not record."""
        return await self._read("0", most, None)

    async def fresh(self, most: int, *, wait_ms: int) -> list[LifecycleEntry]:
        """Return what nobody was given yet; waits for it for `wait_ms`."""
        return await self._read(">", most, wait_ms)

    async def abandoned(self, most: int, *, idle_ms: int) -> list[LifecycleEntry]:
        """Take over what another consumer was given so long ago that it must be dead."""
        reply = await self._redis.xautoclaim(LIFECYCLE, GROUP, self._consumer, idle_ms, count=most)
        return _entries(reply[1])

    async def recorded(self, entries: Iterable[LifecycleEntry]) -> None:
        """Say that these are safe elsewhere; the stream forgets them."""
        ids = [entry.id for entry in entries]
        if ids:
            async with self._redis.pipeline(transaction=True) as pipe:
                pipe.xack(LIFECYCLE, GROUP, *ids)
                pipe.xdel(LIFECYCLE, *ids)
                await pipe.execute()

    async def behind_ms(self) -> int:
        """Return the age of the oldest event that is not recorded, 0 if all are."""
        oldest = await self._redis.xrange(LIFECYCLE, count=1)
        if not oldest:
            return 0
        seconds, micros = await self._redis.time()
        return max(0, int(seconds) * 1000 + int(micros) // 1000 - int(oldest[0][0].split(b"-")[0]))

    async def outcomes(self, job_ids: Sequence[str]) -> dict[str, Outcome]:
        """Return results and tracebacks of finished jobs, in one round trip."""
        if not job_ids:
            return {}
        async with self._redis.pipeline(transaction=False) as pipe:
            for job_id in job_ids:
                pipe.get(result_key(job_id))
                pipe.hmget(state_key(job_id), ["result", "traceback", "expires_at", "status"])
            replies = await pipe.execute()
        return {
            job_id: _outcome(large, state)
            for job_id, large, state in zip(job_ids, replies[::2], replies[1::2], strict=True)
        }

    async def _read(self, after: str, most: int, wait_ms: int | None) -> list[LifecycleEntry]:
        try:
            reply = await self._redis.xreadgroup(
                GROUP, self._consumer, {LIFECYCLE: after}, count=most, block=wait_ms
            )
        except ResponseError as error:
            if "NOGROUP" not in str(error):
                raise
            await self.join()  # Redis was flushed
            return []
        return _entries(reply[0][1]) if reply else []


def _entries(raw: Iterable[tuple[bytes, dict[bytes, bytes]]]) -> list[LifecycleEntry]:
    return [LifecycleEntry(entry_id.decode(), _event(fields)) for entry_id, fields in raw]


def _event(fields: dict[bytes, bytes] | None) -> dict[str, Any] | None:
    try:
        event = json.loads((fields or {})[b"e"])
    except (KeyError, ValueError):
        return None
    return event if isinstance(event, dict) else None


def _outcome(large: bytes | None, state: Sequence[bytes | None]) -> Outcome:
    result, traceback, expires, status = state
    text = large or result if status == b"succeeded" else None
    return Outcome(
        result=text.decode() if text else None,
        traceback=traceback.decode("utf-8", "replace") if traceback else None,
        expires_at=expires.decode() if expires else None,
    )
