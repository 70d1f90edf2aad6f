"""The hub: one reader, a topic per watched job, and the rules by which a stream never misses its end."""

from __future__ import annotations

import asyncio
import math
import random
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import structlog
from redis.asyncio import Redis
from redis.exceptions import RedisError

from milepost.background import end, together
from milepost.codec import Cursor
from milepost.errors import JobNotFound, MilepostError, StoreUnavailable
from milepost.job import Job
from milepost.log import JobLog, View, live_channel
from milepost.redis import UNREACHABLE
from milepost.upkeep import kept_running
from milepost_api.hub.foreseen import FORESEEN_MOST, Foreseen
from milepost_api.hub.frames import Frame, snapshot_of
from milepost_api.hub.health import Health
from milepost_api.hub.line import Explain, Line, nothing_known
from milepost_api.hub.memory import Memory
from milepost_api.hub.reader import Reader
from milepost_api.hub.reads import Reads
from milepost_api.hub.reconcile import Reconciler
from milepost_api.hub.seats import Seats
from milepost_api.hub.times import DEFAULT_TIMES, Times
from milepost_api.hub.topic import Beginning, Topic

log = structlog.get_logger("milepost.hub")
T = TypeVar("T")


class Hub:
    """Opened by `open_hub`. `present` turns a job into what clients are shown (with its urls)."""

    def __init__(
        self,
        joblog: JobLog,
        subscriber: Redis,
        memory: Memory,
        present: Callable[[Job], dict[str, Any]],
        times: Times,
        explain: Explain,
        stream_limit: int | None = None,
    ) -> None:
        self.memory, self.present = memory, present
        self.seats = Seats(stream_limit)
        self.draining = asyncio.Event()
        self.times = times
        self._line = Line(joblog, explain)
        self._reads = Reads(joblog, explain, self._spawn, answer_seconds=times.answer)
        self._reconciler = Reconciler(joblog, self._open_topics, self._fill, times)
        self._topics: dict[bytes, Topic] = {}
        self._others: dict[bytes, Callable[[bytes], None]] = {}
        self._opening: dict[Topic, asyncio.Task[None]] = {}
        self._filling: dict[Topic, asyncio.Task[None]] = {}
        self._linger: dict[Topic, asyncio.TimerHandle] = {}
        self._foreseen: set[Topic] = set()
        self._tasks: set[asyncio.Task[Any]] = set()
        self.health = Health(times.probe + times.late, self._wake_all)
        self._reader = Reader(
            subscriber,
            self._heard,
            self._resynced,
            self.health.heard,
            probe_seconds=times.probe,
            deadline_seconds=times.late,
        )

    @property
    def connected(self) -> bool:
        """Whether this process listens to Redis."""
        return self._reader.connected

    @property
    def lag_seconds(self) -> float:
        """How long a message took lately from its publication to this process."""
        return self._reader.lag_seconds

    def rotation(self) -> float:
        """Draw when a stream that begins now shall be asked to come back, as a time of the loop."""
        longest = self.times.rotate
        return (
            asyncio.get_running_loop().time() + random.uniform(longest / 2, longest) if longest else math.inf
        )

    @property
    def streams(self) -> int:
        return sum(topic.readers for topic in self._topics.values())

    @property
    def topics(self) -> int:
        return len(self._topics)

    # Topics: who watches what.

    async def watch(self, job_id: str) -> Topic:
        """Return the job's topic, subscribed and started; to be given back by `leave`.

        Raises `JobNotFound` when Redis does not have the job, `StoreUnavailable` when it does not answer.
        """
        topic = self._topics.get(_key(job_id)) or self._new_topic(job_id)
        self.join(topic)  # before it is open: whoever is cancelled meanwhile leaves like everybody else
        try:
            if opening := self._opening.get(topic):
                await asyncio.shield(opening)  # all who come meanwhile share it; it ends with none of them
        except BaseException:
            self.leave(topic)
            raise
        return topic

    def live(self, job_id: str) -> Topic | None:
        """Return the job's topic if there is one and it is open, for who would `join` it without waiting."""
        topic = self._topics.get(_key(job_id))
        return None if topic is None or topic in self._opening or topic.gone else topic

    def join(self, topic: Topic) -> None:
        """Read a topic with the others who do, until `leave`."""
        topic.readers += 1
        self._foreseen.discard(topic)
        if timer := self._linger.pop(topic, None):
            timer.cancel()

    def foresee(self, job_id: str) -> Foreseen:
        """Watch a job that is about to be created, if there is room: its stream begins without a word to Redis then."""
        foreseen = Foreseen()
        if _key(job_id) not in self._topics and len(self._foreseen) < FORESEEN_MOST:
            topic = self._new_topic(job_id, foreseen)
            self._foreseen.add(topic)
            self._drop_after(self.times.foreseen, topic)
        return foreseen

    def owner(self, job_id: str) -> str | None:
        """Return whose job it is, None when nobody watches it."""
        topic = self._topics.get(_key(job_id))
        return topic.tenant if topic else None

    def leave(self, topic: Topic) -> None:
        topic.readers -= 1
        if topic.readers == 0:
            self._drop_after(self.times.linger if topic.started and not topic.done else 0, topic)

    def _new_topic(self, job_id: str, foreseen: Foreseen | None = None) -> Topic:
        topic = self._topics[_key(job_id)] = Topic(job_id)
        self._once(self._opening, topic, self._open(topic, foreseen))
        return topic

    async def _open(self, topic: Topic, foreseen: Foreseen | None) -> None:
        try:
            # Acknowledged first, read second: what is published after the read is heard, what was before is read.
            await self._reader.subscribe(live_channel(topic.job_id), self.times.answer)
            view = await self._first_view(topic, foreseen)
        except BaseException:
            self._forget(topic)
            raise
        topic.tenant = view.tenant
        topic.start(view.cursor, done=view.job.done)
        if not view.job.done:
            now = asyncio.get_running_loop().time()
            topic.beginning = Beginning(now, view.job, view.cursor, [self.snapshot(view)])
        if topic.suspect:
            self._fill(topic)

    async def _first_view(self, topic: Topic, foreseen: Foreseen | None) -> View:
        if foreseen is not None:
            foreseen.heard = True
            if (view := await foreseen.view) is not None:
                return await self._reads.explained(view)
        return await self._reads.read(topic.job_id)

    def _drop_after(self, seconds: float, topic: Topic) -> None:
        self._linger[topic] = asyncio.get_running_loop().call_later(seconds, self._drop, topic)

    def _drop(self, topic: Topic) -> None:
        self._linger.pop(topic, None)
        self._foreseen.discard(topic)
        if topic.readers == 0:
            self._forget(topic)
            if opening := self._opening.get(topic):
                opening.cancel()  # everybody who waited for it has gone

    def _forget(self, topic: Topic) -> None:
        if self._topics.get(_key(topic.job_id)) is topic:
            del self._topics[_key(topic.job_id)]
            self._spawn(self._reader.unsubscribe(live_channel(topic.job_id)))

    # Channels that are about no single job.

    async def listen(self, channel: str, tell: Callable[[bytes], None]) -> None:
        """Return when all that is published there is told. Raises `StoreUnavailable`; it is wanted all the same."""
        self._others[channel.encode()] = tell
        # In a task like `unlisten`: they reach the reader in the order in which they were called.
        await asyncio.shield(self._spawn(self._reader.subscribe(channel, self.times.answer)))

    def unlisten(self, channel: str) -> None:
        if self._others.pop(channel.encode(), None):
            self._spawn(self._reader.unsubscribe(channel))

    # Reading. Never by the task of a stream, which may be cancelled in the middle of a reply.

    async def read(self, job_id: str, after: Cursor | None = None) -> View:
        """Return the job and what followed `after`: a thousand streams that ask the same at once cost one read.

        Raises `JobNotFound`, `StoreUnavailable`.
        """
        return await self._reads.read(job_id, after)

    async def _read_of(self, topic: Topic, after: Cursor | None = None) -> View:
        view = await self._reads.read(topic.job_id, after)
        if view.tenant != topic.tenant:
            raise JobNotFound  # another job has got the id of one that was deleted
        return view

    async def view_in_step(self, topic: Topic) -> View:
        """Return the job as read in the history that the topic follows.

        A reader may see a new epoch before its topic does. The epoch of its snapshot and that of the events that
        follow must be one. Raises `JobNotFound`, `StoreUnavailable`.
        """
        for _ in range(3):
            generation = topic.generation
            view = await self._read_of(topic)
            if view.cursor.epoch == topic.epoch and generation == topic.generation:
                return view
            await self.compare(topic)
        raise StoreUnavailable("The history of this job is being restored; try again in a few seconds.")

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
            if tell := self._others.get(channel):
                tell(message)
            return
        place, _, rest = message.partition(b" ")
        kind, _, data = rest.partition(b" ")
        cursor = Cursor.parse(place.decode("ascii", "replace"))
        if cursor is not None and not topic.hear(cursor, kind.decode("ascii", "replace"), data or None):
            topic.suspect = True
            if topic.started:
                self._fill(topic)

    def _resynced(self) -> None:
        self._spawn(self._reconciler.look())

    async def run(self) -> None:
        """Read, and look after the watched jobs, for ever."""
        self.health.heard()  # nothing yet, but it has as long to begin as to go on
        await together(
            kept_running("reader", self._reader.run),
            kept_running("reconcile", self._reconciler.run),
            kept_running("line", self._keep_looking),
        )

    async def _keep_looking(self) -> None:
        while True:
            await asyncio.sleep(self.times.line)
            try:
                async with asyncio.timeout(self.times.answer):
                    await self._line.look([topic for topic in self._topics.values() if topic.started])
            except (RedisError, *UNREACHABLE) as error:
                log.debug("hub.line_failed", error=str(error))  # the reader reports the same outage

    def _open_topics(self) -> list[Topic]:
        return [topic for topic in self._topics.values() if topic.started and not topic.done]

    async def compare(self, topic: Topic) -> None:
        """Return when the topic has been compared with the history as of now, if Redis answers."""
        self._fill(topic)
        await asyncio.shield(self._filling[topic])

    def _fill(self, topic: Topic) -> None:
        topic.suspect = True
        filling = self._filling.get(topic)
        if filling is None or filling.done():  # done: it has looked at `suspect` for the last time
            self._once(self._filling, topic, self._fill_now(topic))

    async def _fill_now(self, topic: Topic) -> None:
        """Read what the topic lacks, until it lacks nothing. One task per topic, so nothing is taken twice."""
        while topic.suspect:
            topic.suspect = False  # what is heard from here on may not be in the answer
            at = topic.cursor
            try:
                view = await self._read_of(topic, at)
            except JobNotFound:
                await self._vanished(topic)
                return
            except StoreUnavailable as error:
                log.debug("hub.fill_failed", job_id=topic.job_id, error=str(error.__cause__))
                return  # the reconciliation comes back to it
            if view.gap is not None:
                topic.start(view.cursor, done=view.job.done, reason=view.gap)
            elif view.cursor.epoch != at.epoch and topic.cursor != at:
                # Meanwhile an old master has told more of the history that is over, perhaps from beyond the branch.
                topic.suspect = True
                continue
            else:
                topic.fill(view.cursor.epoch, view.entries)
            topic.suspect = topic.suspect or view.more

    async def _vanished(self, topic: Topic) -> None:
        """Redis has no job that is being watched: its readers are told what SQL knows, or wait for it, or leave."""
        try:
            recalled = await self.memory.recall(topic.job_id, topic.tenant)
        except (StoreUnavailable, RedisError, *UNREACHABLE) as error:
            log.debug("hub.recall_failed", job_id=topic.job_id, error=str(error))
            return  # the reconciliation comes back to it
        if recalled is None:  # deleted; a job that gets the same id later is another one
            self._forget(topic)
            topic.vanish()
        elif recalled.job.done and not topic.done:
            topic.start(recalled.cursor, done=True)

    # Tasks: whoever started one keeps it, sees how it ended, and can wait for it.

    def _once(
        self, running: dict[Any, asyncio.Task[T]], key: Any, work: Coroutine[Any, Any, T]
    ) -> asyncio.Task[T]:
        task = running[key] = self._spawn(work)

        def forget(_: object) -> None:
            if running.get(key) is task:  # and not the one that followed it already
                del running[key]

        task.add_done_callback(forget)
        return task

    def _spawn(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        error = None if task.cancelled() else task.exception()
        # Our own errors are for whoever waits for the task, and they have them.
        if error is not None and not isinstance(error, MilepostError):
            log.error("hub.bug", exc_info=error)

    # Leaving.

    def drain(self) -> None:
        """Every stream says `reconnect` and ends."""
        self.draining.set()
        self._wake_all()

    def _wake_all(self) -> None:
        for topic in self._topics.values():
            topic.wake()

    async def close(self) -> None:
        self.health.close()
        for timer in self._linger.values():
            timer.cancel()
        await end(*self._tasks)


def _key(job_id: str) -> bytes:
    return live_channel(job_id).encode()


@asynccontextmanager
async def open_hub(
    joblog: JobLog,
    subscriber: Redis,
    memory: Memory,
    present: Callable[[Job], dict[str, Any]],
    times: Times = DEFAULT_TIMES,
    *,
    explain: Explain = nothing_known,
    stream_limit: int | None = None,
) -> AsyncIterator[Hub]:
    """One hub per process; it lives exactly as long as this block."""
    hub = Hub(joblog, subscriber, memory, present, times, explain, stream_limit)
    running = asyncio.create_task(hub.run(), name="hub")
    try:
        yield hub
    finally:
        hub.drain()  # readers get their goodbye before the source dries up
        await end(running)
        await hub.close()
