"""Bookmarks: where the reader of a stream of many jobs was, kept for a while for any process to go on from.

An event id holds 64 bytes, and five hundred cursors do not fit. So the ids of such a stream are `<name>-<number>`, and
when it ends the process writes down under its name what stood at the last number, with the last steps that led there:
a reader that has seen fewer of them is taken back exactly.
"""

from __future__ import annotations

import asyncio
import json
import zlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, cast

from milepost.log.keys import bookmark_key, bookmarks_channel

if TYPE_CHECKING:
    from redis.asyncio import Redis

KEPT_SECONDS = 900
"""So long a reader may be away. A tab that sleeps longer gets everything anew."""

NEW: Final = ""
"""The standing of a job of which nothing has been told yet."""

_VERSION = 1
_DENIED = b""
_DENIED_SECONDS = 5
_LOOKS_SECONDS = (0.01, 0.02, 0.04, 0.08, 0.15, 0.3, 0.6, 0.8)
"""A process that is asked writes within milliseconds, unless its loop is held up."""
_ONCE_MORE = (0.0,)
"""A process that does not listen has written all it knew, perhaps since the first look, or is dead."""


@dataclass(frozen=True, slots=True)
class Bookmark:
    """What the reader has been told at `number`. `tenant`: whose stream it is; nobody else gets it. `of`: what it
    shows, in words of whoever made it.

    `open`: job → the cursor after which to go on, or `NEW`. `done`: job → the status in which it ended, or `missing`.
    `counts`: how many have ended in each, those included that `done` remembers no more. `steps`: the last of them, the
    latest at the end: which job was told of, and its standing before (`=status` if it was done). The `end` of the
    whole is a step of no job. `floor`: jobs that had ended before the stream began and are older were left out.
    """

    tenant: str
    of: str
    number: int
    open: Mapping[str, str]
    done: Mapping[str, str]
    counts: Mapping[str, int]
    steps: Sequence[tuple[str, str]]
    ended: bool = False
    floor: int = 0

    def refusal(self, number: int) -> str | None:
        """Say why a reader that has seen `number` cannot be served from here (as a `gap` says it); None if it can."""
        if number > self.number:
            return "ahead"
        return "trimmed" if self.number - number > len(self.steps) else None

    def back_to(self, number: int) -> Bookmark:
        """Return what stood at an earlier number. Raises `ValueError` when that is not known (see `refusal`)."""
        if (why := self.refusal(number)) is not None:
            raise ValueError(f"{number} is {why}: the bookmark is at {self.number}.")
        kept = len(self.steps) - (self.number - number)
        open_, done, counts = dict(self.open), dict(self.done), Counter(self.counts)
        ended = self.ended
        for job_id, before in reversed(self.steps[kept:]):
            if not job_id:
                ended = False
                continue
            open_.pop(job_id, None)
            if now := done.pop(job_id, None):
                counts[now] -= 1
            if before.startswith("="):
                done[job_id] = before[1:]
                counts[before[1:]] += 1
            else:
                open_[job_id] = before
        return Bookmark(
            self.tenant, self.of, number, open_, done, +counts, self.steps[:kept], ended, self.floor
        )

    def to_bytes(self) -> bytes:
        """Return it as it is kept: a thousand jobs are some 30 kB."""
        place = {job_id: number for number, job_id in enumerate(dict(self.steps))}
        steps = [(place[job_id], before) for job_id, before in self.steps]
        whose = (self.tenant, self.of, self.number)
        parts = (*whose, self.open, self.done, self.counts, (list(place), steps), self.ended, self.floor)
        return zlib.compress(json.dumps([_VERSION, *parts], separators=(",", ":")).encode(), 1)

    @classmethod
    def from_bytes(cls, kept: bytes) -> Bookmark | None:
        """Read it; None for one of another version of Milepost."""
        version, *parts = json.loads(zlib.decompress(kept))
        if version != _VERSION:
            return None
        tenant, of, number, open_, done, counts, (names, steps), ended, floor = parts
        told = [(names[place], before) for place, before in steps]
        return cls(tenant, of, number, open_, done, counts, told, ended, floor)


class Bookmarks:
    """Bookmarks in Redis."""

    def __init__(self, redis: Redis, *, kept_seconds: int = KEPT_SECONDS) -> None:
        self._redis, self._kept_seconds = redis, kept_seconds

    async def save(self, bookmarks: Mapping[str, Bookmark]) -> None:
        """Keep them under their names: one round trip."""
        async with self._redis.pipeline(transaction=False) as pipe:
            for name, bookmark in bookmarks.items():
                pipe.set(bookmark_key(name), bookmark.to_bytes(), ex=self._kept_seconds)
            await pipe.execute()

    async def deny(self, names: Iterable[str]) -> None:
        """Say for a moment that there are none of these names, to whoever has asked for them."""
        async with self._redis.pipeline(transaction=False) as pipe:
            for name in names:
                pipe.set(bookmark_key(name), _DENIED, ex=_DENIED_SECONDS, nx=True)
            await pipe.execute()

    async def fetch(self, process: str, name: str) -> Bookmark | None:
        """Return the bookmark of that name, None if there is none (any more).

        A process that has not noticed yet that its reader is gone is asked for what it knows.
        """
        kept = await self._get(name)
        if kept is None:
            heard = await self._redis.publish(bookmarks_channel(process), name)
            for seconds in _LOOKS_SECONDS if heard else _ONCE_MORE:
                await asyncio.sleep(seconds)
                if (kept := await self._get(name)) is not None:
                    break
        return Bookmark.from_bytes(kept) if kept else None

    async def _get(self, name: str) -> bytes | None:
        return cast("bytes | None", await self._redis.get(bookmark_key(name)))
