"""Following one job through connections that come and go: what to remember and decide. No I/O."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from milepost.client.backoff import Backoff
from milepost.client.calls import job_path, many_path
from milepost.client.errors import BadAnswer, ClientError, Unreachable
from milepost.codec import Cursor, Frame, SseDecoder
from milepost.events import (
    AllEnded,
    AnyEvent,
    Ended,
    Event,
    Gap,
    Ping,
    Reconnect,
    Snapshot,
    StillWaiting,
    from_wire,
)
from milepost.fold import fold
from milepost.job import Job

FRAME_LIMIT_BYTES = 64 * 1024 * 1024
"""No event is that large; a stream that never ends one is not Milepost's and must not fill the memory."""


@dataclass(frozen=True, slots=True)
class Connection:
    """How a follower's connection is: open, or lost because of `error` and tried again in `retry_seconds`.

    Losing it does nothing to the job.
    """

    error: ClientError | None = None
    retry_seconds: float = 0.0

    @property
    def is_open(self) -> bool:
        return self.error is None


class Follower:
    """The memory of one reader. `cursor` is what a reconnect sends, `ended` whether there is nothing more.

    For each connection: `headers()`, then `opened(...)`, then `feed(chunk)` until `ended`; when the
    connection is lost or refused, `lost(error)` says how long to wait, or raises what waiting cannot mend.
    `clock` returns seconds; `give_up_seconds` is how long nothing may be heard before `lost` raises.
    """

    def __init__(
        self,
        job_id: str,
        after: str | None = None,
        *,
        backoff: Backoff,
        clock: Callable[[], float],
        give_up_seconds: float | None = None,
    ) -> None:
        self.path = job_path(job_id, "/status/stream")
        self.job_id: str | None = job_id
        self.cursor = after or ""
        self.ended = False
        self._backoff, self._clock, self._give_up_seconds = backoff, clock, give_up_seconds
        self._heard_at = clock()
        self._asked_seconds: float | None = None
        self._decoder = SseDecoder()
        self._unframed_bytes = 0

    def headers(self) -> dict[str, str]:
        """Return the headers of the next connection, which starts with an empty decoder."""
        self._decoder, self._unframed_bytes = SseDecoder(), 0
        # identity: compressing proxies hold events back until they have a block's worth.
        headers = {"Accept": "text/event-stream", "Accept-Encoding": "identity", "Cache-Control": "no-store"}
        return headers | ({"Last-Event-ID": self.cursor} if self.cursor else {})

    def opened(self, content_type: str) -> None:
        """Check the head of a 200. Raises `BadAnswer` if what follows is not a stream of events."""
        if content_type.partition(";")[0].strip().lower() != "text/event-stream":
            raise BadAnswer(
                f"The server answered with {content_type or 'no type'!r} instead of a stream of events. "
                "Is the address that of a Milepost?"
            )

    def feed(self, chunk: bytes) -> list[AnyEvent]:
        """Return the events that `chunk` completes, each once and in order: what happened, gaps, places in line.

        What is said about the connection (`ping`, `reconnect`) is heeded here; unknown events are passed
        over (DESIGN §2). Raises `BadAnswer` for an event that cannot be read.
        """
        self._heard_at = self._clock()
        frames = self._decoder.feed(chunk)
        self._unframed_bytes = 0 if frames else self._unframed_bytes + len(chunk)
        if self._unframed_bytes > FRAME_LIMIT_BYTES:
            raise BadAnswer("The server sent an event without an end. Is the address that of a Milepost?")
        events = [event for frame in frames if not self.ended and (event := self._take(frame)) is not None]
        if self._decoder.retry_ms is not None:
            self._backoff.base_seconds = self._decoder.retry_ms / 1000
        return events

    def already_ended(self, job: Job) -> Snapshot:
        """Take the job as read after a 204: its end was seen before."""
        self.ended = True
        return Snapshot(
            job_id=job.id,
            seq=job.version,
            cursor=self.cursor,
            at=job.finished_at or "",
            job=job,
        )

    def lost(self, error: ClientError) -> float:
        """Return how many seconds to wait before the next connection.

        Raises `error` itself when waiting will not help, or has not helped for too long.
        """
        if not error.transient:
            raise error
        silent = self._clock() - self._heard_at
        if self._give_up_seconds is not None and silent >= self._give_up_seconds:
            raise error
        if self._asked_seconds is not None:  # a drain or a rotation: the server spreads its readers itself
            wait, self._asked_seconds = self._asked_seconds, None
            return wait
        return self._backoff.next_seconds(error.retry_after_seconds)

    def _take(self, frame: Frame) -> AnyEvent | None:
        event = _read(frame)
        self._backoff.reset()  # not when a connection opens: one that says nothing is no better than none
        before, self.cursor = self.cursor, frame.id or self.cursor
        match event:
            case Ping() | None:
                return None
            case Reconnect():
                self._asked_seconds = max(0, event.retry_ms) / 1000
                return None
            case Gap() | StillWaiting():
                return event
            case Event() if _seen(event, before):
                self.cursor = before
                return None
            case Event():
                self.ended = isinstance(event, Ended)
        return event


class ManyFollower(Follower):
    """The same for many jobs on one connection: those that are named, or of a tag or a batch, or all there are.

    Its `cursor` is of the whole, and `ended` is whether all of them have.
    """

    def __init__(
        self,
        job_ids: Iterable[str] | None,
        tag: str | None,
        batch: str | None,
        *,
        backoff: Backoff,
        clock: Callable[[], float],
        give_up_seconds: float | None = None,
    ) -> None:
        super().__init__("many", backoff=backoff, clock=clock, give_up_seconds=give_up_seconds)
        self.job_id = None
        named = None if job_ids is None else list(job_ids)
        self.path = many_path(named, tag, batch)
        self.ended = named == []  # without a name the server would show all jobs

    def _take(self, frame: Frame) -> AnyEvent | None:
        event = _read(frame)
        self._backoff.reset()
        self.cursor = frame.id or self.cursor
        if isinstance(event, Reconnect):
            self._asked_seconds = max(0, event.retry_ms) / 1000
        self.ended = isinstance(event, AllEnded)
        return None if isinstance(event, Ping | Reconnect) else event


class Jobs:
    """The jobs of a stream of many, each as it is after the last event."""

    def __init__(self) -> None:
        self._living: dict[str, Job] = {}

    def after(self, event: AnyEvent) -> Job | None:
        """Return the job that the event is about, None if it is about none, or nothing is known of that job yet."""
        if not isinstance(event, Event | StillWaiting):
            return None
        job = folded(self._living.pop(event.job_id, None), event)
        if job is not None and not isinstance(event, Ended):
            self._living[job.id] = job
        return job


def folded(job: Job | None, event: AnyEvent) -> Job | None:
    """Return the job after `event`: None until a snapshot has said what the job is."""
    if isinstance(event, Snapshot):
        return event.job
    return fold(job, event) if job is not None and isinstance(event, Event | StillWaiting) else job


def closed() -> Unreachable:
    """Return the error for a stream closed before its end: by a proxy, a drain, a limit on its age."""
    return Unreachable("The connection was closed before the end.")


def _read(frame: Frame) -> AnyEvent | None:
    try:
        return from_wire(json.loads(frame.data))
    except (TypeError, ValueError, AttributeError) as error:
        raise BadAnswer(f"The server sent an event that cannot be read: {error}.") from error


def _seen(event: Event, cursor: str) -> bool:
    """Whether the event is at or before the cursor in the same history. A snapshot is always news."""
    here, last = Cursor.parse(event.cursor), Cursor.parse(cursor)
    if isinstance(event, Snapshot) or here is None or last is None:
        return False
    return here.epoch == last.epoch and here.seq <= last.seq
