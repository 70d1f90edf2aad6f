"""One reader of one job: a cursor, not a queue. Says what to send next; how it is sent is not its business."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Collection
from dataclasses import dataclass

from milepost import times
from milepost.codec import Cursor
from milepost.errors import JobNotFound
from milepost.events import Ended, Gap, Reconnect, Snapshot
from milepost.log import View
from milepost_api.hub.frames import Frame, conflate, durable, ended, gap, reconnect
from milepost_api.hub.hub import Hub, Recalled, snapshot_of
from milepost_api.hub.topic import Topic

CONFLATE_FRAMES = 32
"""A reader that is further behind gets only the latest progress."""

DRAIN_SPREAD_MS = 5000
ALWAYS = frozenset({Snapshot.type, Ended.type, Gap.type, Reconnect.type})


class AlreadyEnded(Exception):
    """The reader's cursor has reached the end: there is nothing more to say, now or ever (204)."""


@dataclass(frozen=True, slots=True)
class Wishes:
    """What a reader asked for: only some kinds of events, and at most one delivery per interval."""

    kinds: Collection[str] | None = None
    min_interval_seconds: float = 0.0


class Subscription:
    """Made by `subscribe`; `next` until `finished`, then `close` whatever happens."""

    def __init__(self, hub: Hub, topic: Topic | None, first: list[Frame], seq: int, wishes: Wishes) -> None:
        self._hub, self._topic, self._first, self._seq, self._wishes = hub, topic, first, seq, wishes
        self._generation = topic.generation if topic else 0
        self.finished = False

    async def next(self, timeout_seconds: float) -> list[Frame]:
        """Return what is new, at least one frame; [] when nothing was for `timeout_seconds`."""
        deadline = asyncio.get_running_loop().time() + timeout_seconds
        while not self.finished:
            topic = self._topic
            pulse = topic.pulse if topic else None
            if frames := await self._take():
                return frames
            if topic is None or pulse is None:
                self.finished = True
                break
            if self._hub.draining.is_set():
                self.finished = True
                return [reconnect("shutdown", 500 + int(random.random() * DRAIN_SPREAD_MS))]
            try:
                async with asyncio.timeout_at(deadline):
                    await pulse.wait()
                    if self._wishes.min_interval_seconds and not topic.done:
                        await asyncio.sleep(self._wishes.min_interval_seconds)
            except TimeoutError:
                return []
        return []

    def close(self) -> None:
        """Give the topic back. Idempotent."""
        topic, self._topic = self._topic, None
        if topic is not None:
            self._hub.leave(topic)

    async def _take(self) -> list[Frame]:
        if self._first:
            frames, self._first = self._first, []
            return self._wanted(frames)
        topic = self._topic
        if topic is None:
            return []
        if topic.generation != self._generation:
            return self._wanted(await self._again(topic, "epoch"))
        held = topic.after(self._seq)
        return self._wanted(await self._caught_up(topic) if held is None else held)

    async def _caught_up(self, topic: Topic) -> list[Frame]:
        """The reader fell off the ring: what it missed is in the history, unless it is very far behind."""
        view = await self._hub.joblog.read(topic.job_id, Cursor(topic.epoch or "", self._seq))
        if view.gap is not None:
            return await self._again(topic, view.gap)
        return [durable(entry.seq, entry.kind, entry.data, view.cursor.epoch) for entry in view.entries]

    async def _again(self, topic: Topic, reason: str) -> list[Frame]:
        """Start again from a snapshot, and say so."""
        lost = gap(topic.job_id, f"{topic.epoch}-{self._seq}", reason)
        self._generation = topic.generation
        try:
            first = await from_view(self._hub, await self._hub.view(topic.job_id))
        except JobNotFound:
            recalled = await self._hub.memory.recall(topic.job_id)
            if recalled is None:
                raise
            first = from_record(self._hub, recalled)
        return [lost, *first]

    def _wanted(self, frames: list[Frame]) -> list[Frame]:
        if not frames:
            return frames
        self._seq = max((frame.seq for frame in frames if frame.seq), default=self._seq)
        if any(frame.kind == Snapshot.type for frame in frames):
            self._seq = next(frame.seq for frame in reversed(frames) if frame.seq)
        self.finished = frames[-1].is_end
        if len(frames) > CONFLATE_FRAMES or self._wishes.min_interval_seconds:
            frames = conflate(frames)
        if self._wishes.kinds is not None:
            frames = [frame for frame in frames if frame.kind in self._wishes.kinds or frame.kind in ALWAYS]
        return frames


async def subscribe(
    hub: Hub, job_id: str, cursor_text: str | None, wishes: Wishes | None = None
) -> Subscription:
    """Return the reader's subscription, with what it must be sent first already decided.

    `cursor_text` is what the client sent as its last event id, whatever that is. Raises `AlreadyEnded` when
    it has the end, `JobNotFound` when neither Redis nor SQL has the job, `StoreUnavailable`.
    """
    wishes = wishes or Wishes()
    cursor = Cursor.parse(cursor_text) if cursor_text else None
    try:
        topic = await hub.watch(job_id)
    except JobNotFound:
        return await _remembered(hub, job_id, cursor, cursor_text, wishes)
    try:
        first = await _opening(hub, topic, cursor, cursor_text)
    except BaseException:
        hub.leave(topic)
        raise
    seq = first[-1].seq if first else (cursor.seq if cursor else 0)
    return Subscription(hub, topic, first, seq, wishes)


async def _opening(hub: Hub, topic: Topic, cursor: Cursor | None, text: str | None) -> list[Frame]:
    if cursor is not None and cursor.epoch == topic.epoch:
        if topic.done and not topic.has_hole and cursor.seq == topic.last:
            raise AlreadyEnded
        if topic.floor <= cursor.seq <= topic.last:
            return topic.after(cursor.seq) or []  # the ring has all of it: no read
    view = await (hub.joblog.read(topic.job_id, cursor) if cursor else hub.view(topic.job_id))
    if cursor is not None and view.gap is None:
        if view.job.done and cursor.seq == view.cursor.seq:
            raise AlreadyEnded
        return [durable(entry.seq, entry.kind, entry.data, view.cursor.epoch) for entry in view.entries]
    first = await from_view(hub, view)
    return [gap(topic.job_id, text, view.gap or "invalid"), *first] if text else first


async def from_view(hub: Hub, view: View) -> list[Frame]:
    """Return a snapshot, and the end if it has come."""
    frames = [hub.snapshot(view)]
    if view.job.done:
        last = await hub.joblog.read(view.job.id, Cursor(view.cursor.epoch, view.cursor.seq - 1))
        frames += [durable(e.seq, e.kind, e.data, last.cursor.epoch) for e in last.entries]
    return frames


def from_record(hub: Hub, recalled: Recalled) -> list[Frame]:
    """Return snapshot and, if the job has ended, end, of a job that only SQL remembers."""
    job, cursor = recalled.job, recalled.cursor
    at = job.finished_at or job.created_at or times.now()
    if not job.done:
        return [snapshot_of(job, cursor, at, hub.present)]
    end = Ended(
        job_id=job.id,
        seq=cursor.seq,
        cursor=str(cursor),
        at=at,
        status=job.status,
        attempt=job.attempt,
        progress=job.progress,
        result=job.result,
        result_omitted=job.result_omitted,
        error=job.error,
        finished_at=job.finished_at,
    )
    before = Cursor(cursor.epoch, max(0, cursor.seq - 1))
    return [snapshot_of(job, before, at, hub.present), ended(cursor.seq, cursor.epoch, end)]


async def _remembered(
    hub: Hub, job_id: str, cursor: Cursor | None, text: str | None, wishes: Wishes
) -> Subscription:
    recalled = await hub.memory.recall(job_id)
    if recalled is None:
        raise JobNotFound
    if not recalled.job.done:
        # Accepted, and not (or no longer) in Redis: recalling it has brought it there.
        topic = await hub.watch(job_id)
        first = await from_view(hub, await hub.view(job_id))
        return Subscription(hub, topic, first, first[-1].seq, wishes)
    if cursor == recalled.cursor:
        raise AlreadyEnded
    first = from_record(hub, recalled)
    lost = [gap(job_id, text, "trimmed" if cursor else "invalid")] if text else []
    return Subscription(hub, None, [*lost, *first], first[-1].seq, wishes)
