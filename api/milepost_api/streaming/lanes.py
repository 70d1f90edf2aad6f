"""The writing loop: what a job says is written to all streams that are level with it in one go (DESIGN §4).

Waking a task per stream and event costs Python 20 to 60 us each; writing the same bytes to the next connection costs
little more than the system call.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Collection, Coroutine, Iterable
from contextlib import asynccontextmanager
from heapq import heappop, heappush
from itertools import count
from time import perf_counter
from typing import TYPE_CHECKING

import structlog

from milepost import times
from milepost.background import end
from milepost.codec import encode_line
from milepost_api.hub import COMMENT, DEGRADED, LIVE, Frame, Hub, ping, wanted
from milepost_api.hub.topic import Topic
from milepost_api.protocol import framed
from milepost_api.streaming.wheel import Wheel

if TYPE_CHECKING:
    from milepost_api.streaming.lent import LentStream

log = structlog.get_logger("milepost.stream")

WINDOW_SECONDS = 0.02
"""After a write, what comes within so long is written together. The first event after quiet goes out at once."""

CROWDED_FRAMES, CROWDED_SECONDS = 16, 0.04
"""The same after a write of so many events: no eye follows 800 a second, and half as many writes cost half as much."""

REST_SHARE = 0.5
"""A write that took long is followed by a rest of at least this part of it: the rest of the process wants to live."""


class Lanes:
    """All lanes of a process: knows which of them have something to write, and when they may."""

    def __init__(self, hub: Hub, *, ping_seconds: float) -> None:
        self.hub, self.ping_seconds = hub, ping_seconds
        self.wheel = Wheel()
        self._loop = asyncio.get_running_loop()
        self._ready: deque[Lane] = deque()
        self._resting: list[tuple[float, int, Lane]] = []
        self._numbers = count()
        self._soon: asyncio.Handle | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    def join(self, stream: LentStream) -> Lane | None:
        """Let a stream ride along with its job. None when it is not level with it: it has to catch up first."""
        topic = stream.subscription.level_with
        if topic is None:
            return None
        key = (stream.ndjson, stream.subscription.kinds)
        lane = topic.watchers.get(key)
        if lane is None:
            lane = topic.watchers[key] = Lane(self, topic, *key)
        assert isinstance(lane, Lane)
        lane.add(stream)
        return lane

    def pending(self, lane: Lane) -> None:
        """`lane` has something to write: at once, or after its rest."""
        if lane.rests_until > self._loop.time():
            heappush(self._resting, (lane.rests_until, next(self._numbers), lane))
            if self._resting[0][2] is lane:  # nobody is to wait for one that rests longer
                if self._timer is not None:
                    self._timer.cancel()
                self._timer = self._loop.call_at(lane.rests_until, self._rested)
            return
        self._ready.append(lane)
        if self._soon is None:  # not now: what else has arrived with it goes out with it
            self._soon = self._loop.call_soon(self._write)

    def spawn(self, work: Coroutine[None, None, None]) -> asyncio.Task[None]:
        """Run what has to wait; it is kept until it has ended."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def close(self) -> None:
        """End what is left, once nobody serves any more."""
        await end(*self._tasks)
        self.wheel.close()
        for handle in (self._soon, self._timer):
            if handle is not None:
                handle.cancel()

    def _write(self) -> None:
        self._soon = None
        ready, self._ready = self._ready, deque()
        for lane in ready:
            began, clock = self._loop.time(), perf_counter()  # the clock of uvloop stands still meanwhile
            written = 0
            try:
                written = lane.write()
            except Exception:  # of this one; the others have something to say, too
                log.exception("lane.bug")
                lane.give_up()
            window = CROWDED_SECONDS if written >= CROWDED_FRAMES else WINDOW_SECONDS
            took = perf_counter() - clock
            lane.rests_until = began + max(window, took * (1 + REST_SHARE))

    def _rested(self) -> None:
        now = self._loop.time()
        while self._resting and self._resting[0][0] <= now:
            self._ready.append(heappop(self._resting)[2])
        self._timer = self._loop.call_at(self._resting[0][0], self._rested) if self._resting else None
        if self._ready and self._soon is None:
            self._write()


class Lane:
    """The streams of one job that are level with it and want the same: they get the same bytes."""

    def __init__(self, lanes: Lanes, topic: Topic, ndjson: bool, kinds: frozenset[str] | None) -> None:
        self._lanes, self._topic, self._ndjson, self._kinds = lanes, topic, ndjson, kinds
        self._generation, self._seq = topic.generation, topic.last
        self._streams: set[LentStream] = set()
        self._ahead: set[LentStream] = set()
        """Those who came while something was pending that they have seen already."""
        self._pending = False
        self._spoke_at = asyncio.get_running_loop().time()
        self.rests_until = 0.0
        self._told_degraded = lanes.hub.health.degraded
        lanes.wheel.at(self._spoke_at + lanes.ping_seconds, self)

    def add(self, stream: LentStream) -> None:
        """Take a stream along that has all that the topic has."""
        (self._streams if stream.subscription.seq == self._seq else self._ahead).add(stream)

    def remove(self, stream: LentStream) -> None:
        """Let a stream go its own way, from where it stands."""
        if stream in self._streams:
            self._streams.discard(stream)
            stream.subscription.seq = self._seq
        self._ahead.discard(stream)
        if not self._streams and not self._ahead:
            self._topic.watchers.pop((self._ndjson, self._kinds), None)

    def changed(self) -> None:
        """The topic has something new, of whatever kind."""
        if not self._pending:
            self._pending = True
            self._lanes.pending(self)

    def write(self) -> int:
        """Write what is new to everybody. Returns how many events that were."""
        self._pending = False
        topic = self._topic
        same = (
            topic.generation == self._generation and not topic.gone and not self._lanes.hub.draining.is_set()
        )
        frames = topic.after(self._seq) if same else None
        if frames is None:  # each has its own gap, or its own goodbye, to be told
            self._part_with(self._everybody())
            return 0
        if frames:
            self._write_events(frames)
        if topic.standing is not None and not topic.done:
            self._write_standing(topic.standing)
        if self._told_degraded != self._lanes.hub.health.degraded:
            self._write_health(self._lanes.hub.health.degraded)
        return len(frames)

    def give_up(self) -> None:
        """Nobody knows any more who has been written what: they come back, and say it themselves."""
        for stream in self._everybody():
            stream.loan.abort()

    def turned(self, now: float) -> None:
        """Say that the connection lives, after silence."""
        everybody = self._everybody()
        if not everybody:
            return
        if now - self._spoke_at >= self._lanes.ping_seconds:
            self._send([ping(times.now())], everybody)  # about the connection: whichever kinds were asked for
            self._spoke_at = now
        self._lanes.wheel.at(self._spoke_at + self._lanes.ping_seconds, self)

    def part_with(self, stream: LentStream) -> None:
        """Let a stream go that has something to be told alone."""
        self._part_with((stream,))

    def _everybody(self) -> list[LentStream]:
        return [*self._streams, *self._ahead]

    def _write_events(self, frames: list[Frame]) -> None:
        level, ahead = tuple(self._streams), tuple(self._ahead)
        self._streams |= self._ahead
        self._ahead.clear()
        self._seq, ended = frames[-1].seq, frames[-1].is_end
        place = next((frame.place for frame in reversed(frames) if frame.place is not None), None)
        if place is not None or ended:
            for stream in self._streams:
                stream.subscription.told(place, ended)
        for stream in ahead:
            self._write([frame for frame in frames if frame.seq > stream.subscription.seq], (stream,))
        if self._write(frames, level):  # what nobody here asked for is silence
            self._spoke_at = asyncio.get_running_loop().time()
        if ended:
            self._part_with(self._everybody())

    def _write_standing(self, frame: Frame) -> None:
        ignorant = [stream for stream in self._everybody() if stream.subscription.place != frame.place]
        for stream in ignorant:
            stream.subscription.told(frame.place, False)
        self._write([frame], ignorant)

    def _write_health(self, degraded: bool) -> None:
        self._told_degraded = degraded
        ignorant = [stream for stream in self._everybody() if stream.subscription.told_degraded != degraded]
        for stream in ignorant:
            stream.subscription.told_degraded = degraded
        self._write([DEGRADED if degraded else LIVE], ignorant)

    def _write(self, frames: list[Frame], streams: Collection[LentStream]) -> bool:
        """Send of these what was asked for. False if that is nothing."""
        return self._send([frame for frame in frames if wanted(frame, self._kinds)], streams)

    def _send(self, frames: list[Frame], streams: Collection[LentStream]) -> bool:
        chunk = encoded(frames, ndjson=self._ndjson)
        if not chunk:
            return False
        chunk = framed(chunk)
        self._part_with([stream for stream in streams if not stream.loan.write(chunk)])
        return True

    def _part_with(self, streams: Collection[LentStream]) -> None:
        for stream in streams:
            self.remove(stream)
            stream.go_on_alone()


def encoded(frames: Iterable[Frame], *, ndjson: bool) -> bytes:
    """Return the frames as they stand in a body; nothing, if they are comments and it has no place for them."""
    if ndjson:
        return b"".join([encode_line(frame.data) for frame in frames if frame.kind != COMMENT])
    return b"".join([frame.sse for frame in frames])


@asynccontextmanager
async def open_lanes(hub: Hub, *, ping_seconds: float) -> AsyncIterator[Lanes]:
    """The lanes of a process live exactly as long as this block."""
    lanes = Lanes(hub, ping_seconds=ping_seconds)
    try:
        yield lanes
    finally:
        await lanes.close()
