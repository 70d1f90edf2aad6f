"""All streams of many jobs of a process: opened here, gone on with here."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import structlog
from redis.asyncio import Redis

from milepost.background import end, together
from milepost.codec import Cursor
from milepost.log import JOBS_CHANNEL, Announcement, Bookmark, Bookmarks
from milepost.log.bookmarks import NEW
from milepost.upkeep import kept_running
from milepost_api.hub import AlreadyEnded, Frame, Hub
from milepost_api.hub.frames import gap
from milepost_api.many.keeper import Keeper
from milepost_api.many.ledger import Ledger
from milepost_api.many.opening import Doors
from milepost_api.many.selection import LOOK_SECONDS, Look, Selection
from milepost_api.many.stream import ManyStream
from milepost_api.many.wanted import Filter, Wanted

log = structlog.get_logger("milepost.many")


class Multiplexer:
    """Opened by `open_multiplexer`. `open` a stream for each request."""

    def __init__(
        self, hub: Hub, redis: Redis, look: Look, *, answer_seconds: float, look_seconds: float
    ) -> None:
        self._hub, self._look, self._look_seconds = hub, look, look_seconds
        self._doors = Doors(hub, redis, answer_seconds=answer_seconds)
        self.keeper = Keeper(hub, Bookmarks(redis), answer_seconds=answer_seconds)
        self._streams: set[ManyStream] = set()
        self._selections: dict[Filter, tuple[Selection, asyncio.Task[None]]] = {}
        self._leaving: set[asyncio.Task[None]] = set()

    @property
    def streams(self) -> int:
        """How many are open."""
        return len(self._streams)

    async def open(self, wanted: Wanted) -> ManyStream:
        """Return the stream that a reader gets.

        Raises `AlreadyEnded` when it has the end of the whole, `StoreUnavailable` when Redis or the records are away,
        `Crowded` when this process has as many streams as it may.
        """
        goes_on, lost = await self._where_it_was(wanted)
        ledger = Ledger(self.keeper.name(), wanted.tenant, wanted.of, goes_on)
        for job_id, cursor in (wanted.named or {}).items():
            if job_id not in ledger.open and job_id not in ledger.done:
                ledger.add(job_id, NEW if lost else cursor)
        seat = self._hub.seats.take()
        stream = ManyStream(self._doors, wanted, ledger, self._selection(wanted), seat, self._closed)
        self._streams.add(stream)
        self.keeper.begin(ledger)
        try:
            await self.keeper.listen()
            await self._select(stream)
        except BaseException:
            stream.close()
            raise
        stream.begin(lost=lost)
        return stream

    async def _select(self, stream: ManyStream) -> None:
        if stream.selection is not None:
            stream.selection.readers.add(stream)
            await self._hub.listen(JOBS_CHANNEL, self._announced)
            await asyncio.shield(stream.selection.look())  # now that we listen: what comes later is heard

    async def _where_it_was(self, wanted: Wanted) -> tuple[Bookmark | None, Frame | None]:
        """Return what the reader has been told; or, if it has been told something and nobody knows what, the gap."""
        text = wanted.last_event_id
        if not text:
            return None, None
        place = Cursor.parse(text)
        if place is None:
            return None, gap(None, text, "invalid")
        kept = await self.keeper.find(place.epoch)
        if kept is None or kept.tenant != wanted.tenant:
            return None, gap(None, text, "lost")
        if kept.of != wanted.of:
            return None, gap(None, text, "invalid")
        if why := kept.refusal(place.seq):
            return None, gap(None, text, why)
        here = _of_named(kept.back_to(place.seq), wanted)
        if here.ended and set(wanted.named or ()) <= here.done.keys():
            raise AlreadyEnded
        return here, None

    def _selection(self, wanted: Wanted) -> Selection | None:
        if wanted.named is not None:
            return None
        if wanted.filter not in self._selections:
            selection = Selection(wanted.filter, self._look, look_seconds=self._look_seconds)
            task = asyncio.create_task(kept_running("selection", selection.run), name="selection")
            self._selections[wanted.filter] = selection, task
        return self._selections[wanted.filter][0]

    def _announced(self, message: bytes) -> None:
        said = Announcement.parse(message)
        if said is not None:
            for selection, _ in self._selections.values():
                selection.hear(said)

    def _closed(self, stream: ManyStream) -> None:
        self._streams.discard(stream)
        self.keeper.end(stream.ledger)
        if stream.selection is None:
            return
        stream.selection.readers.discard(stream)
        if not any(other.selection is stream.selection for other in self._streams):
            _, task = self._selections.pop(stream.wanted.filter)
            task.cancel()
            self._leaving.add(task)
            task.add_done_callback(self._leaving.discard)
        if not self._selections:
            self._hub.unlisten(JOBS_CHANNEL)

    async def run(self) -> None:
        """Keep the bookmarks, and pass on that the process leaves."""
        await together(kept_running("bookmarks", self.keeper.run), self._drain())

    async def _drain(self) -> None:
        await self._hub.draining.wait()
        for stream in list(self._streams):  # also those that wait for no job
            stream.wake()

    async def close(self) -> None:
        """Close what is open still, and write down where the readers were."""
        for stream in list(self._streams):
            stream.close()
        await end(*self._doors.tasks, *self._leaving)
        await self.keeper.close()


def _of_named(kept: Bookmark, wanted: Wanted) -> Bookmark:
    """Return what is known of the jobs that are named now: others may have been named before."""
    if wanted.named is None:
        return kept
    done = {job_id: status for job_id, status in kept.done.items() if job_id in wanted.named}
    counts: dict[str, int] = {}
    for status in done.values():
        counts[status] = counts.get(status, 0) + 1
    return Bookmark(
        tenant=kept.tenant,
        of=kept.of,
        number=kept.number,
        open={job_id: cursor for job_id, cursor in kept.open.items() if job_id in wanted.named},
        done=done,
        counts=counts,
        steps=(),
        ended=kept.ended,
        floor=kept.floor,
    )


@asynccontextmanager
async def open_multiplexer(
    hub: Hub, redis: Redis, look: Look, *, answer_seconds: float, look_seconds: float = LOOK_SECONDS
) -> AsyncIterator[Multiplexer]:
    """One per process; it lives exactly as long as this block."""
    many = Multiplexer(hub, redis, look, answer_seconds=answer_seconds, look_seconds=look_seconds)
    running = asyncio.create_task(many.run(), name="many")
    try:
        yield many
    finally:
        await end(running)
        await many.close()
