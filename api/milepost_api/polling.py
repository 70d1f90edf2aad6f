"""Long-poll: a stream in pieces. Each answer holds what a stream would have sent, and where to go on."""

from __future__ import annotations

import asyncio
import json
import zlib
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from milepost.background import end
from milepost.events import Gap
from milepost_api.hub import Frame, wanted
from milepost_api.hub.frames import Place, conflate
from milepost_api.hub.subscription import ALWAYS


class Source(Protocol):
    """What one stream is sent: a subscription."""

    finished: bool

    async def next(self, timeout_seconds: float) -> Sequence[Frame]: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What one poll asks for. Times are in seconds; `gather` is the least time that it takes to answer with news."""

    after: Mark
    wait: float
    gather: float
    limit: int
    kinds: frozenset[str] | None


@dataclass(frozen=True, slots=True)
class Mark:
    """Where a poller stands: after which event, and where it was told that its job waits.

    Written `<cursor>~<place>`. A stream remembers the place while it is open; of a poller nothing is remembered, and
    without it a job that waits would be told to wait in every answer, at once.
    """

    cursor: str | None
    place: str | None = None

    @classmethod
    def parse(cls, text: str | None) -> Mark:
        """Read a mark, or the cursor of an event, or anything."""
        cursor, _, place = (text or "").partition("~")
        return cls(cursor or None, place or None)

    def __str__(self) -> str:
        return f"{self.cursor or ''}~{self.place}" if self.place else self.cursor or ""

    def moved_by(self, frames: Sequence[Frame]) -> Mark:
        """Return the mark of somebody who was told these."""
        places = [_text(frame.place) for frame in frames if frame.place is not None]
        durable = [frame for frame in frames if frame.seq]
        cursor = json.loads(durable[-1].data)["cursor"] if durable else self.cursor
        return Mark(cursor, places[-1] if places else self.place)


@dataclass(frozen=True, slots=True)
class Piece:
    """What one poll is answered with; `more` says that there is more already."""

    frames: Sequence[Frame]
    mark: Mark
    more: bool

    def to_json(self) -> bytes:
        """Return the answer, the events in it as the hub has encoded them."""
        gap = next(
            (json.loads(frame.data)["reason"] for frame in self.frames if frame.kind == Gap.type), None
        )
        rest = {
            "next": str(self.mark) or None,
            "more": self.more,
            "gap": gap,
            "done": bool(self.frames) and self.frames[-1].is_end,
        }
        items = b",".join(frame.data for frame in self.frames)
        return b'{"items":[%b],%b' % (items, json.dumps(rest, separators=(",", ":")).encode()[1:])


async def collect(source: Source, asked: Asked) -> Piece:
    """Return what has happened by now, else what happens next; nothing when nothing did for `asked.wait`."""
    clock = asyncio.get_running_loop().time
    begun = clock()
    deadline, ripe = begun + asked.wait, begun + min(asked.gather, asked.wait)
    told: list[Frame] = []
    mark = asked.after
    while not source.finished:
        until = ripe if _wanted(told, asked) else deadline
        news = list(await source.next(max(0.0, until - clock())))
        told += [frame for frame in news if frame.data and not _is_known(frame, mark)]
        mark = mark.moved_by(news)
        found = _wanted(told, asked)
        if not news or len(found) >= asked.limit or any(frame.kind in ALWAYS for frame in found):
            break
        if found and clock() >= ripe:
            break
    return _cut(told, asked, mark)


def _is_known(frame: Frame, mark: Mark) -> bool:
    """Whether it says where the job waits, and the poller has been told just that."""
    return not frame.seq and frame.place is not None and _text(frame.place) == mark.place


def _wanted(frames: Sequence[Frame], asked: Asked) -> list[Frame]:
    return [frame for frame in frames if wanted(frame, asked.kinds)]


def _cut(told: list[Frame], asked: Asked, mark: Mark) -> Piece:
    """Keep to the limit; a gap is never told without the snapshot that follows it."""
    found = _wanted(conflate(told) if asked.gather else told, asked)
    size = asked.limit
    while 0 < size < len(found) and not found[size - 1].seq:
        size += 1
    if size >= len(found):
        return Piece(found, mark, more=False)
    kept = found[:size]
    return Piece(kept, asked.after.moved_by(kept), more=True)


def _text(place: Place) -> str:
    position, waiting = place
    said = f"{position} {waiting.to_wire() if waiting else None}"
    return f"{zlib.crc32(said.encode()):08x}"


async def unless_gone(receive: Callable[[], Awaitable[Any]], work: Awaitable[Piece]) -> Piece | None:
    """Return what `work` does, None if its client hangs up first: nobody is kept waiting for the sake of nobody."""
    doing = asyncio.ensure_future(work)
    leaving = asyncio.create_task(_gone(receive))
    try:
        await asyncio.wait({doing, leaving}, return_when=asyncio.FIRST_COMPLETED)
        if doing.done():
            return doing.result()
        leaving.result()  # raises if it did not hang up but sent too much
        return None
    finally:
        await end(doing, leaving)


async def _gone(receive: Callable[[], Awaitable[Any]]) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
