"""The stream of many jobs: what to send next. A set of cursors into rings that all streams share; no queue of events.

One task, that of the connection. A job that has news puts itself into a set; a wake-up gathers what all of them have.
"""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Callable, Iterable

import structlog

from milepost import times
from milepost.events import AllEnded, Ended, JobMissing, Reconnect
from milepost.events import Selection as SelectionEvent
from milepost_api.hub import Frame, Hub, Subscription, reconnect
from milepost_api.hub.frames import COMMENT, DEGRADED, LIVE, conflate, control
from milepost_api.hub.seats import Seat
from milepost_api.hub.subscription import RETRY_MS, ROTATION_RETRY_MS
from milepost_api.many.frames import cursor_of, of_many, with_id
from milepost_api.many.ledger import MISSING, Ledger
from milepost_api.many.look import Found
from milepost_api.many.member import Member
from milepost_api.many.opening import Asked, Doors, Opening
from milepost_api.many.selection import Selection
from milepost_api.many.wanted import Wanted

log = structlog.get_logger("milepost.many")

BODY_BYTES = 262_144
"""One body message: jobs that find no place in it come first in the next one."""
AGAIN_SECONDS = 1.0
"""How long to wait before the records are looked into again, when they could not be."""


class ManyStream:
    """A source of frames (see `StreamResponse`): `next` until `finished`, then `close` whatever happens.

    Made by `Multiplexer.open`. `ended` is called when it is closed, once.
    """

    def __init__(
        self,
        doors: Doors,
        wanted: Wanted,
        ledger: Ledger,
        selection: Selection | None,
        seat: Seat,
        ended: Callable[[ManyStream], None],
    ) -> None:
        self.wanted, self.ledger, self.selection = wanted, ledger, selection
        self.finished = self.closed = False
        self._hub: Hub = doors.hub
        self._seat, self._ended = seat, ended
        self._opening = Opening(doors, wanted.tenant, self)
        self._first: list[Frame] = []
        self._members: dict[str, Member] = {}
        self._ready: dict[Member, None] = {}
        self._urgent: dict[Member, None] = {}
        self._crowded = False
        self._missing: dict[str, str] = {}
        """Jobs that are not there, or not any more, and of which that has to be told: id → reason."""
        self._news = asyncio.Event()
        self._due = 0.0
        self._left_out_done = self._left_out_open = False
        self._told_truncated: bool | None = None
        self._failed = ""
        self._leaves_at = min(self._hub.rotation(), wanted.until)
        self._told_degraded = False
        self._last_look: asyncio.Future[Found] | None = None

    # The contract of a source.

    async def next(self, timeout_seconds: float) -> list[Frame]:
        """Return what is new, at least one frame; [] when nothing was for `timeout_seconds`."""
        clock = asyncio.get_running_loop().time
        deadline = clock() + timeout_seconds
        while not self.finished:
            self._news.clear()
            if frames := await self._look(clock()):
                return frames
            now = clock()
            until = min(deadline, self._leaves_at, self._due if self._ready and now < self._due else deadline)
            try:
                async with asyncio.timeout_at(until):
                    await self._news.wait()
            except TimeoutError:
                if clock() >= deadline:
                    return []
        return []

    def close(self) -> None:
        """Give everything back, and keep where the reader was. Idempotent."""
        if self.closed:
            return
        self.closed = self.finished = True
        for member in self._members.values():
            member.close()
        self._members.clear()
        self._ready.clear()
        self._urgent.clear()
        self._seat.leave()
        self._ended(self)

    # What begins and changes the selection.

    def begin(self, *, lost: Frame | None = None) -> None:
        """Say what is selected, after `lost` if the reader cannot go on where it was; and open all of it."""
        self._first = [lost] if lost else []
        self._first.append(self._selection(resumed=lost is None and bool(self.wanted.last_event_id)))
        self._opening.add(list(self.ledger.open.items()))

    def found(self, found: Found) -> None:
        """Take what a look has found; of those that have ended what the first look had no place for never comes."""
        if found.left_out is not None:
            job_id, key = found.left_out
            if key > self.ledger.floor and not self.ledger.knows(job_id):
                self.ledger.floor, self._left_out_done = key, True
        self._left_out_open = found.more_open
        fresh = [job_id for job_id, key in found.done if key > self.ledger.floor]
        self._join([*found.open, *fresh])

    def announced(self, job_id: str) -> None:
        """Take a new job."""
        self._join([job_id])

    def forgotten(self, job_id: str) -> None:
        """Tell of a job that was deleted after its end; before its end its topic says so."""
        if self.ledger.done.get(job_id, MISSING) != MISSING:
            self._missing[job_id] = "deleted"
            self._news.set()

    def wake(self) -> None:
        """Look again: the process is leaving."""
        self._news.set()

    def _join(self, job_ids: Iterable[str]) -> None:
        new: list[Asked] = []
        for job_id in job_ids:
            if self.ledger.knows(job_id):
                continue
            if len(self.ledger.open) >= self.wanted.at_once:
                self._left_out_open = True
                continue
            self.ledger.add(job_id)
            new.append((job_id, ""))
            self._last_look = None  # that was no look after which nothing came
        if self._told_truncated is not None:  # it has begun: before that, `begin` opens all
            self._opening.add(new)
        if new or self._truncated != self._told_truncated:
            self._news.set()

    @property
    def _truncated(self) -> bool:
        return self._left_out_done or self._left_out_open

    def _selection(self, *, resumed: bool = False) -> Frame:
        self._told_truncated = self._truncated
        return control(
            SelectionEvent(
                at=times.now(), jobs=self.ledger.jobs, truncated=self._told_truncated, resumed=resumed
            )
        )

    # What the opening of a job came to.

    def opened(self, job_id: str, subscription: Subscription) -> None:
        if self.closed or job_id not in self.ledger.open:
            subscription.close()
            return
        member = self._members[job_id] = Member(job_id, subscription, self._has_news)
        self._has_news(member, urgent=True)  # what it has to say first is for nobody's interval to hold back

    def is_over(self, job_id: str, status: str) -> None:
        self.ledger.count(job_id, status)
        self._news.set()

    def is_missing(self, job_id: str) -> None:
        self._missing[job_id] = "unknown"
        self._news.set()

    def failed(self) -> None:
        self._failed = "unavailable"
        self._news.set()

    def _has_news(self, member: Member, urgent: bool) -> None:
        if urgent:
            self._urgent[member] = None
        if urgent or not self._ready:  # once an interval; the timer does the rest
            self._news.set()
        self._ready[member] = None

    # What to say next.

    async def _look(self, now: float) -> list[Frame]:
        leaving = self._leaving(now)
        frames, self._first = self._first, []
        frames += self._told_missing()
        frames += await self._gathered(now, everything=bool(leaving))
        if self._truncated != self._told_truncated:
            frames.append(self._selection())
        if reason := leaving or self._failed:
            return [*frames, self._goodbye(reason)]
        if self._told_degraded != self._hub.health.degraded:
            self._told_degraded = self._hub.health.degraded
            frames.append(DEGRADED if self._told_degraded else LIVE)
        if not self.ledger.open and not self._missing and not self.wanted.is_live:
            frames += self._end()
        return frames

    def _leaving(self, now: float) -> str:
        """Why the reader is to come back to another connection, if it is."""
        if self._hub.draining.is_set():
            return "shutdown"
        if now >= self.wanted.until:
            return "token"
        return "rotation" if now >= self._leaves_at else ""

    async def _gathered(self, now: float, *, everything: bool) -> list[Frame]:
        """Return what the jobs have to say that have news, as much of it as one message holds."""
        due = everything or now >= self._due
        size, crowded = 0, self._crowded
        frames: list[Frame] = []
        for member in list(self._ready if due else self._urgent):
            if size >= BODY_BYTES:
                break
            self._ready.pop(member, None)
            self._urgent.pop(member, None)
            told = await self._told_by(member, crowded=crowded)
            frames += told
            size += sum(len(frame.sse) for frame in told)
        if due:
            # Only for want of room: a job whose snapshot is told is ready again, and its reader is not slow.
            self._crowded = size >= BODY_BYTES and bool(self._ready)
            if frames:
                self._due = now + self.wanted.min_interval_seconds
            elif self._ready:
                self._news.set()  # nobody wants what they said, and there is more
        return frames

    async def _told_by(self, member: Member, *, crowded: bool) -> list[Frame]:
        raw = await member.subscription.next(0)
        if self.wanted.min_interval_seconds or (crowded and raw and raw[0].seq > member.missed):
            raw = conflate(raw)
        told = [frame for one in raw for frame in self._told(member.job_id, one)]
        if member.subscription.finished:
            member.close()
            self._members.pop(member.job_id, None)
        elif raw and member.subscription.level_with is None:
            self._ready[member] = None  # behind all others
        return told

    def _told(self, job_id: str, frame: Frame) -> list[Frame]:
        if frame.kind == COMMENT:
            return []  # how the process hears is said once, and not by each job
        if frame.kind == Reconnect.type:
            return self._interrupted(job_id, str(json.loads(frame.data)["reason"]))
        cursor = cursor_of(frame)
        if cursor is None:
            return [frame] if self.wanted.shows(frame.kind) else []
        if frame.kind == Ended.type:
            ended, status = of_many(frame)
            return [with_id(ended, self.ledger.tell_done(job_id, status))]
        if not self.wanted.shows(frame.kind):
            self.ledger.pass_over(job_id, cursor)
            return []
        return [with_id(frame, self.ledger.tell(job_id, cursor))]

    def _interrupted(self, job_id: str, reason: str) -> list[Frame]:
        """Take the goodbye of one job: it was deleted, or the whole stream has to leave for that reason."""
        if reason == "deleted":
            self._missing[job_id] = reason
            return self._told_missing()
        self._failed = reason
        return []

    def _told_missing(self) -> list[Frame]:
        missing, self._missing = self._missing, {}
        return [
            with_id(
                control(JobMissing(job_id=job_id, at=times.now(), reason=reason)),
                self.ledger.tell_done(job_id, MISSING),
            )
            for job_id, reason in missing.items()
        ]

    def _goodbye(self, reason: str) -> Frame:
        self.finished = True
        return reconnect(reason, random.randint(*(ROTATION_RETRY_MS if reason == "rotation" else RETRY_MS)))

    def _end(self) -> list[Frame]:
        """Return the end of the whole. A selection that may grow ends after a look that has found nothing more."""
        if self.selection is not None and not self._nothing_more(self.selection):
            return []
        self.finished = True
        counts = {status: number for status, number in self.ledger.counts.items() if number}
        end = AllEnded(at=times.now(), jobs=sum(counts.values()), by_status=counts)
        return [with_id(control(end), self.ledger.tell_end())]

    def _nothing_more(self, selection: Selection) -> bool:
        if self._last_look is None:
            self._last_look = selection.look()
            self._last_look.add_done_callback(lambda _: self._news.set())
        if not self._last_look.done():
            return False
        failed = self._last_look.exception() is not None
        if failed:
            self._last_look = None
            asyncio.get_running_loop().call_later(AGAIN_SECONDS, self._news.set)
        return not failed
