"""One reader of one job: a cursor, not a queue. Says what to send next; how it is sent is not its business."""

from __future__ import annotations

import asyncio
import math
import random
from dataclasses import dataclass

import structlog

from milepost.codec import Cursor
from milepost.errors import JobNotFound, StoreUnavailable
from milepost.events import Ended, Gap, Reconnect, Snapshot
from milepost_api.hub.frames import (
    COMMENT,
    DEGRADED,
    LIVE,
    Frame,
    Place,
    conflate,
    gap,
    reconnect,
)
from milepost_api.hub.hub import Hub
from milepost_api.hub.seats import Seat
from milepost_api.hub.topic import Topic
from milepost_api.hub.views import framed, from_record, from_view

CONFLATE_FRAMES = 32
"""A reader that is further behind gets only the latest progress."""

RETRY_MS = (500, 5500)
"""When to come back, in ms: spread, so that a restart is not followed by a stampede."""

ROTATION_RETRY_MS = (100, 1000)
"""The same for a stream that was only open for long: others that opened with it leave at other moments."""

ALWAYS = frozenset({Snapshot.type, Ended.type, Gap.type, Reconnect.type, COMMENT})
log = structlog.get_logger("milepost.hub")


def wanted(frame: Frame, kinds: frozenset[str] | None) -> bool:
    """Whether somebody who asked for `kinds` is to be sent this frame."""
    return kinds is None or frame.kind in kinds or frame.kind in ALWAYS


@dataclass(frozen=True, slots=True)
class Wishes:
    """What a reader asked for: only some kinds of events, and at most one delivery per interval.

    The end, and what a reader must be told about its connection, come at once and always.
    """

    kinds: frozenset[str] | None = None
    min_interval_seconds: float = 0.0
    until: float = math.inf
    """When, by the clock of the event loop, it may read no more: its token is over."""
    is_part: bool = False
    """It is no stream but part of an answer, which has the seat, and says by itself how it is and when it leaves."""


PART = Wishes(is_part=True)


class Subscription:
    """Made by `subscribe`; `next` until `finished`, then `close` whatever happens."""

    __slots__ = (
        "_due",
        "_first",
        "_generation",
        "_hub",
        "_missed",
        "_topic",
        "_wishes",
        "finished",
        "place",
        "rotates_at",
        "seat",
        "seq",
        "told_degraded",
    )

    def __init__(self, hub: Hub, topic: Topic | None, first: list[Frame], seq: int, wishes: Wishes) -> None:
        self._hub, self._topic, self._first, self.seq, self._wishes = hub, topic, first, seq, wishes
        self._generation = topic.generation if topic else 0
        self._missed = topic.last if topic else 0
        """What it missed before it came is all replayed; only later it can be too slow."""
        self.place: Place | None = None
        """Where the reader believes the job to stand; None: it may believe anything."""
        self._due = 0.0
        self.told_degraded = False
        self.rotates_at = hub.rotation() if topic and not wishes.is_part else math.inf
        self.seat: Seat | None = None
        self.finished = False

    @property
    def leaves_at(self) -> float:
        """When it is to come back to another connection, by the clock of the event loop."""
        return min(self.rotates_at, self._wishes.until)

    @property
    def topic(self) -> Topic | None:
        """What it reads; None of a job that is not live any more."""
        return self._topic

    @property
    def kinds(self) -> frozenset[str] | None:
        """The kinds of events that it wants, None for all."""
        return self._wishes.kinds

    @property
    def level_with(self) -> Topic | None:
        """The topic, if the reader has all that it holds, and wants what follows as it comes."""
        topic = self._topic
        if topic is None or self._first or self.finished or self._wishes.min_interval_seconds:
            return None
        if topic.generation != self._generation or topic.gone:
            return None
        if self._leaving(asyncio.get_running_loop().time()) or not self._knows_health:
            return None
        return None if self.seq != topic.last or self._standing(topic) else topic

    def told(self, place: Place | None, ended: bool) -> None:
        """Take note that the reader was told by somebody else where the job stands, or that it has ended."""
        self.place = self.place if place is None else place
        self.finished = self.finished or ended

    async def next(self, timeout_seconds: float) -> list[Frame]:
        """Return what is new, at least one frame; [] when nothing was for `timeout_seconds`."""
        clock = asyncio.get_running_loop().time
        deadline = clock() + timeout_seconds
        while not self.finished:
            pulse = self._topic.pulse if self._topic else None  # first this, then look, then wait for it
            if frames := await self._look(clock()):
                self._due = clock() + self._wishes.min_interval_seconds
                return frames
            if pulse is None:
                self.finished = True
                break
            now = clock()
            until = min([deadline, *(at for at in (self._due, self.leaves_at) if at > now)])
            try:
                async with asyncio.timeout_at(until):
                    await pulse.wait()
            except TimeoutError:
                if clock() >= deadline:
                    return []
        return []

    def first_words(self) -> list[Frame]:
        """Return what `next` would at first, where nobody has to be asked for it; [] if there is nothing to say yet."""
        frames = self._wanted(self._beginning()) if self._first else []
        if frames:
            self._due = asyncio.get_running_loop().time() + self._wishes.min_interval_seconds
        return frames if self.finished else [*frames, *self._health()]

    def close(self) -> None:
        """Give topic and seat back. Idempotent."""
        if self.seat is not None:
            self.seat.leave()
        topic, self._topic = self._topic, None
        if topic is not None:
            self._hub.leave(topic)

    async def _look(self, now: float) -> list[Frame]:
        leaving = self._leaving(now)
        if now < self._due and not leaving and self._topic and not self._topic.done:
            return []
        try:
            frames = await self._take()
        except (JobNotFound, StoreUnavailable) as error:
            log.info("stream.interrupted", reason=str(error))
            return self._goodbye("unavailable")
        if self._topic and self._topic.gone and not frames:
            return self._goodbye("deleted")
        if leaving and not self.finished:
            return [*frames, *self._goodbye(leaving)]
        return frames if self.finished else [*frames, *self._health()]

    def _leaving(self, now: float) -> str:
        """Why the reader is to come back to another connection, if it is."""
        if self._hub.draining.is_set():
            return "shutdown"
        if now >= self._wishes.until:
            return "token"
        rotates = now >= self.rotates_at and self._topic and not self._topic.done
        return "rotation" if rotates else ""

    def _health(self) -> list[Frame]:
        """What is said once when events begin to lag, and once when they do not any more."""
        if self._knows_health:
            return []
        self.told_degraded = self._hub.health.degraded
        return [DEGRADED if self.told_degraded else LIVE]

    @property
    def _knows_health(self) -> bool:
        return self._wishes.is_part or self.told_degraded == self._hub.health.degraded

    def _goodbye(self, reason: str) -> list[Frame]:
        self.finished = True
        return [reconnect(reason, random.randint(*(ROTATION_RETRY_MS if reason == "rotation" else RETRY_MS)))]

    async def _take(self) -> list[Frame]:
        while frames := await self._more():
            if wanted := self._wanted(frames):
                return wanted
        return []

    async def _more(self) -> list[Frame]:
        topic = self._topic
        if self._first:
            return self._beginning()
        if topic is None:
            return []
        if topic.generation != self._generation:
            return await self._again(topic, topic.reason)
        held = topic.after(self.seq)
        return await self._caught_up(topic) if held is None else held or self._standing(topic)

    def _beginning(self) -> list[Frame]:
        frames, self._first = self._first, []
        topic = self._topic
        if topic is None or topic.last <= frames[-1].seq or topic.generation != self._generation:
            return frames
        return [*frames, *(topic.after(frames[-1].seq) or ())]

    def _standing(self, topic: Topic) -> list[Frame]:
        """Where the job stands is said when there is nothing else to say: what came before may have ended it."""
        known = topic.standing is None or topic.standing.place == self.place
        return [topic.standing] if topic.standing and not known else []

    async def _caught_up(self, topic: Topic) -> list[Frame]:
        """The reader fell off the ring: what it missed is in the history, unless it is very far behind."""
        view = await self._hub.read(topic.job_id, Cursor(topic.epoch or "", self.seq))
        if view.gap is not None or topic.generation != self._generation:
            return await self._again(topic, view.gap or topic.reason)
        return framed(view)

    async def _again(self, topic: Topic, reason: str) -> list[Frame]:
        """Start again from a snapshot, and say so."""
        lost = gap(topic.job_id, f"{topic.epoch}-{self.seq}", reason)
        try:
            view = await self._hub.view_in_step(topic)
        except JobNotFound:
            recalled = await self._hub.memory.recall(topic.job_id, topic.tenant)
            if recalled is None or not recalled.job.done:
                raise
            return [lost, *from_record(self._hub, recalled)]
        self._generation, self._missed = topic.generation, 0
        return [lost, *await from_view(self._hub, view)]

    def _wanted(self, frames: list[Frame]) -> list[Frame]:
        for frame in frames:
            if frame.kind == Snapshot.type or frame.seq > self.seq:  # a snapshot may lead back
                self.seq = frame.seq
            if frame.place is not None:
                self.place = frame.place
        self.finished = frames[-1].is_end
        behind = len(frames) > CONFLATE_FRAMES and frames[0].seq > self._missed
        if behind or self._wishes.min_interval_seconds:
            frames = conflate(frames)
        return [frame for frame in frames if wanted(frame, self._wishes.kinds)]
