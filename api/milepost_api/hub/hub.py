"""The hub: one reader, a topic per watched job, and the rules by which a stream never misses its end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Protocol

import structlog
from redis.asyncio import Redis
from redis.exceptions import RedisError

from milepost.codec import Cursor
from milepost.errors import JobNotFound, StoreUnavailable
from milepost.job import Job
from milepost.log import JobLog, View, live_channel
from milepost.redis import UNREACHABLE
from milepost_api.hub.frames import Frame, snapshot
from milepost_api.hub.reader import Reader
from milepost_api.hub.topic import Topic

log = structlog.get_logger("milepost.hub")

RECONCILE_SECONDS = 3.0
"""A lost last message has no successor to betray it, so watched jobs are compared with the history so often."""

LINGER_SECONDS = 20.0
"""A topic without readers stays for so long: a page that reloads finds it warm."""


@dataclass(frozen=True, slots=True)
class Recalled:
    """A job as SQL remembers it, when Redis does not have it (any more, or yet)."""

    job: Job
    cursor: Cursor


class Memory(Protocol):
    """What the hub asks when Redis does not know a job."""

    async def recall(self, job_id: str) -> Recalled | None:
        """Return the job's record; None when there is none. May bring an unfinished job (back) to Redis."""


class Hub:
    """Opened by `open_hub`. `present` turns a job into what clients are shown (with its urls)."""

    def __init__(
        self, joblog: JobLog, subscriber: Redis, memory: Memory, present: Callable[[Job], dict[str, Any]]
    ) -> None:
        self.joblog, self.memory, self.present = joblog, memory, present
        self.draining = asyncio.Event()
        self._topics: dict[bytes, Topic] = {}
        self._opening: dict[str, asyncio.Task[Topic]] = {}
        self._reading: dict[str, asyncio.Task[View]] = {}
        self._filling: dict[Topic, asyncio.Task[None]] = {}
        self._linger: dict[Topic, asyncio.TimerHandle] = {}
        self._chores: set[asyncio.Task[None]] = set()
        self._reader = Reader(subscriber, self._heard, self._resynced)

    @property
    def connected(self) -> bool:
        """Whether live events arrive; without, streams lag by the reconcile period."""
        return self._reader.connected

    @property
    def streams(self) -> int:
        return sum(topic.readers for topic in self._topics.values())

    # Topics: who watches what.

    async def watch(self, job_id: str) -> Topic:
        """Return the job's topic, subscribed and started; to be given back by `leave`.

        Raises `JobNotFound` when Redis does not have the job, `StoreUnavailable` when it does not answer.
        """
        topic = self._topics.get(live_channel(job_id).encode())
        if topic is None or not topic.started:
            # Shared by all who come meanwhile, and not cancelled with any of them.
            opening = self._opening.get(job_id) or asyncio.create_task(self._open(job_id))
            self._opening[job_id] = opening
            topic = await asyncio.shield(opening)
        topic.readers += 1
        if timer := self._linger.pop(topic, None):
            timer.cancel()
        return topic

    def leave(self, topic: Topic) -> None:
        topic.readers -= 1
        if topic.readers == 0:
            delay = 0 if topic.done else LINGER_SECONDS
            self._linger[topic] = asyncio.get_running_loop().call_later(delay, self._drop, topic)

    async def _open(self, job_id: str) -> Topic:
        topic = Topic(job_id)
        name = live_channel(job_id)
        self._topics[name.encode()] = topic
        try:
            # Acknowledged first, read second: what is published after the read is heard, what was before is read.
            await self._reader.subscribe(name)
            view = await self.joblog.read(job_id)
        except BaseException:
            del self._topics[name.encode()]
            self._chore(self._reader.unsubscribe(name))
            raise
        finally:
            del self._opening[job_id]
        topic.start(view.cursor, done=view.job.done)
        if topic.suspect:
            self._fill(topic)
        return topic

    def _drop(self, topic: Topic) -> None:
        self._linger.pop(topic, None)
        if topic.readers == 0 and self._topics.get(live_channel(topic.job_id).encode()) is topic:
            del self._topics[live_channel(topic.job_id).encode()]
            self._chore(self._reader.unsubscribe(live_channel(topic.job_id)))

    # Reading: one read at a time per job, whoever asks.

    async def view(self, job_id: str) -> View:
        """Return the job as read for this or another stream that opens now: a thousand of them cost one read.

        It may be older than this call; what came since is in the topic, which was subscribed before.
        """
        reading = self._reading.get(job_id)
        if reading is None:
            reading = self._reading[job_id] = asyncio.create_task(self.joblog.read(job_id))
            reading.add_done_callback(lambda _: self._reading.pop(job_id, None))
        return await asyncio.shield(reading)

    def snapshot(self, view: View) -> Frame:
        """Frame the job as a snapshot.

        Of a finished job it stands one place before the end: a reader that is cut between the two must come
        back for the end, and not be told 204.
        """
        seq = view.cursor.seq - 1 if view.job.done else view.cursor.seq
        return snapshot_of(view.job, Cursor(view.cursor.epoch, seq), view.at, self.present)

    # What Redis says.

    def _heard(self, channel: bytes, message: bytes) -> None:
        topic = self._topics.get(channel)
        if topic is None:
            return
        place, _, rest = message.partition(b" ")
        kind, _, data = rest.partition(b" ")
        cursor = Cursor.parse(place.decode())
        if cursor is not None and not topic.hear(cursor, kind.decode(), data or None):
            topic.suspect = True
            if topic.started:
                self._fill(topic)

    def _resynced(self) -> None:
        self._chore(self._reconcile())

    async def run(self) -> None:
        """Read, and look after the watched jobs, for ever."""
        async with asyncio.TaskGroup() as group:
            group.create_task(_for_ever("reader", self._reader.run))
            group.create_task(_for_ever("reconcile", self._reconcile_and_rest))

    async def _reconcile_and_rest(self) -> None:
        await asyncio.sleep(RECONCILE_SECONDS)
        await self._reconcile()

    async def _reconcile(self) -> None:
        topics = [topic for topic in self._topics.values() if topic.started and not topic.done]
        if not topics:
            return
        try:
            places = await self.joblog.positions([topic.job_id for topic in topics])
        except (RedisError, *UNREACHABLE) as error:
            log.debug("hub.reconcile_failed", error=str(error))  # the reader reports the same outage
            return
        for topic, place in zip(topics, places, strict=True):
            if place is None or place[0] != topic.epoch or place[1] != topic.last:
                self._fill(topic)

    def _fill(self, topic: Topic) -> None:
        topic.suspect = True
        if topic not in self._filling:
            task = self._filling[topic] = asyncio.create_task(self._fill_now(topic))
            task.add_done_callback(lambda _: self._filling.pop(topic, None))

    async def _fill_now(self, topic: Topic) -> None:
        """Read what the topic lacks, until it lacks nothing. One task per topic, so nothing is taken twice."""
        while topic.suspect:
            topic.suspect = False  # what is heard from here on may not be in the answer
            try:
                view = await self.joblog.read(topic.job_id, topic.cursor)
            except JobNotFound:
                await self._vanished(topic)
                return
            except (RedisError, *UNREACHABLE) as error:
                log.debug("hub.fill_failed", job_id=topic.job_id, error=str(error))
                return  # the reconciliation comes back to it
            if view.gap is not None:
                topic.start(view.cursor, done=view.job.done)
            else:
                topic.fill(view.cursor.epoch, view.entries)
            topic.suspect = topic.suspect or view.more or topic.has_hole

    async def _vanished(self, topic: Topic) -> None:
        """Redis lost a job that is being watched: its readers are told what SQL knows, or wait for it."""
        recalled = await self.memory.recall(topic.job_id)
        if recalled is not None and recalled.job.done and not topic.done:
            topic.start(recalled.cursor, done=True)

    def _chore(self, work: Awaitable[None]) -> None:
        task = asyncio.ensure_future(work)
        self._chores.add(task)
        task.add_done_callback(self._chores.discard)

    # Leaving.

    def drain(self) -> None:
        """Every stream says `reconnect` and ends."""
        self.draining.set()
        for topic in self._topics.values():
            topic.wake()

    async def close(self) -> None:
        for timer in self._linger.values():
            timer.cancel()
        tasks = [*self._opening.values(), *self._reading.values(), *self._filling.values(), *self._chores]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _for_ever(name: str, work: Callable[[], Awaitable[None]]) -> None:
    """Do it again and again: a bug in one round is logged, and does not silence every stream of the process."""
    while True:
        try:
            await work()
        except Exception:
            log.exception("hub.bug", part=name)
            await asyncio.sleep(1.0)


def snapshot_of(job: Job, cursor: Cursor, at: str, present: Callable[[Job], dict[str, Any]]) -> Frame:
    """Frame a job as a snapshot that stands at `cursor`."""
    data = {
        "type": "snapshot",
        "job_id": job.id,
        "seq": cursor.seq,
        "cursor": str(cursor),
        "at": at,
        "job": present(job),
    }
    return snapshot(cursor.seq, cursor.epoch, data)


@asynccontextmanager
async def open_hub(
    joblog: JobLog, subscriber: Redis, memory: Memory, present: Callable[[Job], dict[str, Any]]
) -> AsyncIterator[Hub]:
    """One hub per process; it lives exactly as long as this block."""
    hub = Hub(joblog, subscriber, memory, present)
    running = asyncio.create_task(hub.run(), name="hub")
    try:
        yield hub
    finally:
        hub.drain()  # readers get their goodbye before the source dries up
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        await hub.close()


__all__ = ["Hub", "Memory", "Recalled", "StoreUnavailable", "open_hub", "snapshot_of"]
