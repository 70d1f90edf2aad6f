"""One watched job in this process: its latest events, encoded once, and who waits for more. No I/O."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Protocol

from milepost.codec import Cursor
from milepost.events import StatusChanged
from milepost.job import Job
from milepost.log import Entry
from milepost_api.hub.frames import Frame, durable

RING_EVENTS = 256
RING_BYTES = 262_144
"""A reader that falls further behind is caught up from the history in Redis."""
EARLY_EVENTS = 32
"""Heard before the first read is answered: mostly one or two, of a job that is begun while its stream opens."""


@dataclass(frozen=True, slots=True)
class Beginning:
    """What a fresh reader is sent first: the job as of `cursor`; it was read `at` that time of the loop."""

    at: float
    job: Job
    cursor: Cursor
    frames: Sequence[Frame]


class Watcher(Protocol):
    """Who is told of every change of a topic."""

    def changed(self) -> None:
        """Note it, and look later: more may follow at once."""


class Topic:
    """The tail of one job's history, without holes: `floor` < seq of every frame held ≤ `last`.

    What arrives out of order is not kept: the hub reads what is missing.
    A new epoch (or a history that went back) begins a new `generation`: readers of the old one start again.
    """

    def __init__(self, job_id: str) -> None:
        self.job_id = job_id
        self.tenant: str | None = None
        """Whose job it is, once that was read."""
        self.readers = 0
        self.epoch: str | None = None
        self.generation = 0
        self.reason = "epoch"
        """Why the present generation began, as a `gap` tells it."""
        self.floor = self.last = 0
        self.done = False
        self.gone = False
        """Neither Redis nor SQL has the job any more: it was deleted."""
        self.suspect = False
        """Something was heard that is not held: the history is to be read."""
        self.may_wait = True
        """Whether it is worth asking where the job stands in its queue."""
        self.standing: Frame | None = None
        """Where it stands, once that was asked; not part of the history, and only the latest counts."""
        self._ring: deque[Frame] = deque()
        self._bytes = 0
        self._early: list[tuple[Cursor, str, bytes | None]] = []
        self.beginning: Beginning | None = None
        """Of this generation."""
        self.watchers: dict[Hashable, Watcher] = {}
        """Told of every change, besides those who wait for the `pulse`."""
        self._pulse: asyncio.Event | None = None

    @property
    def started(self) -> bool:
        return self.epoch is not None

    @property
    def pulse(self) -> asyncio.Event:
        """Set, and replaced, when anything changes: take it first, look second, wait for it third."""
        if self._pulse is None:
            self._pulse = asyncio.Event()
        return self._pulse

    @property
    def cursor(self) -> Cursor:
        return Cursor(self.epoch or "", self.last)

    def start(self, at: Cursor, *, done: bool, reason: str = "epoch") -> None:
        """Begin at a place in the history; what is held from before is dropped."""
        if self.started:
            self.generation += 1
        self.epoch, self.floor, self.last = at.epoch, at.seq, at.seq
        self.done, self.reason = done, reason
        self.may_wait, self.standing, self.beginning = True, None, None
        self._ring.clear()
        self._bytes = 0
        early, self._early = self._early, []
        for heard in early:
            self.suspect = not self.hear(*heard) or self.suspect
        self.wake()

    def hear(self, cursor: Cursor, kind: str, data: bytes | None) -> bool:
        """Take one published event. False when the history must be read: a hole, another epoch, a bare notice."""
        if not self.started:  # the first read may have been answered before this was published
            if len(self._early) == EARLY_EVENTS:
                return False
            self._early.append((cursor, kind, data))
            return True
        if cursor.epoch != self.epoch:
            return False
        if cursor.seq <= self.last:
            return True
        if cursor.seq != self.last + 1 or data is None:
            return False
        self._append(durable(cursor, kind, data))
        self.wake()
        return True

    def fill(self, epoch: str, entries: Sequence[Entry]) -> None:
        """Take events read from the history after `cursor`, which is of `epoch` now.

        Another epoch means that the history branched no earlier than where this topic stood: it goes on.
        """
        self.epoch = epoch
        for entry in entries:
            if entry.seq == self.last + 1:
                self._append(durable(entry.cursor, entry.kind, entry.data))
        self.wake()

    def stands(self, frame: Frame | None) -> None:
        """Take where the job stands at this place of its history; None when it does not wait."""
        if frame is None:
            self.may_wait, self.standing = False, None
        elif self.standing is None or self.standing.place != frame.place:
            self.standing = frame
            self.wake()

    def after(self, seq: int) -> list[Frame] | None:
        """Return the frames after `seq`; None when some of them are not held any more."""
        if seq < self.floor:
            return None
        return list(islice(self._ring, seq - self.floor, None))

    def vanish(self) -> None:
        """There is no such job any more, and nothing more to come."""
        self.gone, self.beginning = True, None
        self.wake()

    def wake(self) -> None:
        """Everybody who waits looks again."""
        if self._pulse is not None:
            self._pulse.set()
            self._pulse = None
        for watcher in tuple(self.watchers.values()):
            watcher.changed()

    def _append(self, frame: Frame) -> None:
        self._ring.append(frame)
        self._bytes += len(frame.sse)
        self.last = frame.seq
        self.done = self.done or frame.is_end
        if frame.kind == StatusChanged.type:
            self.may_wait, self.standing = True, None
        while len(self._ring) > 1 and (len(self._ring) > RING_EVENTS or self._bytes > RING_BYTES):
            dropped = self._ring.popleft()
            self._bytes -= len(dropped.sse)
            self.floor = dropped.seq
