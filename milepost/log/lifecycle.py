"""The stream of the `status` and `end` events of all jobs, read by a group: each goes to one recorder."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from redis.exceptions import ResponseError

from milepost.log.keys import LIFECYCLE, result_key, state_key

if TYPE_CHECKING:
    from redis.asyncio import Redis

GROUP = "recorder"
PAGE_ENTRIES = 100
PAGE_BYTES = 4 * 1024 * 1024
"""A batch is read in pages, and none follows when so much has come: an event is mostly short and may be megabytes."""

OUTCOME_FIELDS = ["traceback", "expires_at", "started_at", "cancel_requested"]
FORGOTTEN_MS = 3_600_000  # a consumer that is idle for so long and owes nothing was a process of the past


@dataclass(frozen=True, slots=True)
class LifecycleEntry:
    """One event, its place in the stream and its length; `event` is None when it is not readable.

    `created_at` is that of its job, "" if it is not said.
    """

    id: str
    event: dict[str, Any] | None
    size: int = 0
    created_at: str = ""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What the log still has of a finished job and its `end` event does not carry. `result` is JSON, if it is large."""

    result: str | None = None
    traceback: str | None = None
    expires_at: str | None = None
    started_at: str | None = None
    cancel_requested: bool = False


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
        found: list[LifecycleEntry] = []
        page = await self._read("0", min(most, PAGE_ENTRIES), None)
        while page:
            found += page
            if _is_enough(found, page, most):
                break
            page = await self._read(page[-1].id, min(most - len(found), PAGE_ENTRIES), None)
        return found

    async def fresh(self, most: int, *, wait_ms: int | None) -> list[LifecycleEntry]:
        """Return what nobody was given yet; waits for it for `wait_ms`, with None not at all."""
        found = page = await self._read(">", min(most, PAGE_ENTRIES), wait_ms)
        while page and not _is_enough(found, page, most):
            page = await self._read(">", min(most - len(found), PAGE_ENTRIES), None)
            found = found + page
        return found

    async def abandoned(self, most: int, *, idle_ms: int) -> list[LifecycleEntry]:
        """Take over what another consumer was given so long ago that it must be dead."""
        try:
            reply = await self._redis.xautoclaim(LIFECYCLE, GROUP, self._consumer, idle_ms, count=most)
        except ResponseError as error:
            await self._join_again(error)
            return []
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

    async def sizes(self, job_ids: Sequence[str]) -> dict[str, int]:
        """Return how many bytes the large results of these finished jobs have, in one round trip."""
        if not job_ids:
            return {}
        async with self._redis.pipeline(transaction=False) as pipe:
            for job_id in job_ids:
                pipe.strlen(result_key(job_id))
            return dict(zip(job_ids, await pipe.execute(), strict=True))

    async def outcomes(self, job_ids: Sequence[str], *, large: Collection[str]) -> dict[str, Outcome]:
        """Return what the log has of finished jobs, in one round trip; results of those in `large` only."""
        if not job_ids:
            return {}
        async with self._redis.pipeline(transaction=False) as pipe:
            for job_id in job_ids:
                pipe.hmget(state_key(job_id), OUTCOME_FIELDS)
            for job_id in large:
                pipe.get(result_key(job_id))
            replies = await pipe.execute()
        results = dict(zip(large, replies[len(job_ids) :], strict=True))
        return {
            job_id: _outcome(results.get(job_id), *state)
            for job_id, state in zip(job_ids, replies, strict=False)
        }

    async def _read(self, after: str, most: int, wait_ms: int | None) -> list[LifecycleEntry]:
        try:
            reply = await self._redis.xreadgroup(
                GROUP, self._consumer, {LIFECYCLE: after}, count=most, block=wait_ms
            )
        except ResponseError as error:
            await self._join_again(error)
            return []
        return _entries(reply[0][1]) if reply else []

    async def _join_again(self, error: ResponseError) -> None:
        """Make the group anew if that is what was the matter: Redis was flushed. Raises the error if it was not."""
        if "NOGROUP" not in str(error):
            raise error
        await self.join()


def _entries(raw: Iterable[tuple[bytes, dict[bytes, bytes]]]) -> list[LifecycleEntry]:
    # The fields of an entry that was trimmed before it was recorded are None, or none.
    return [_entry(entry_id.decode(), fields or {}) for entry_id, fields in raw]


def _entry(entry_id: str, fields: Mapping[bytes, bytes]) -> LifecycleEntry:
    text = fields.get(b"e", b"")
    try:
        event = json.loads(text)
    except ValueError:
        event = None
    created_at = fields.get(b"c", b"").decode()
    return LifecycleEntry(entry_id, event if isinstance(event, dict) else None, len(text), created_at)


def _is_enough(found: Sequence[LifecycleEntry], page: Sequence[LifecycleEntry], most: int) -> bool:
    return len(page) < PAGE_ENTRIES or len(found) >= most or sum(entry.size for entry in found) >= PAGE_BYTES


def _outcome(
    result: bytes | None,
    traceback: bytes | None,
    expires: bytes | None,
    started: bytes | None,
    cancel: bytes | None,
) -> Outcome:
    if not expires:  # what was lost after its end lives there again: its beginning is another one
        started = cancel = None
    return Outcome(
        result=result.decode() if result else None,
        traceback=traceback.decode("utf-8", "replace") if traceback else None,
        expires_at=expires.decode() if expires else None,
        started_at=started.decode() if started else None,
        cancel_requested=cancel == b"1",
    )
