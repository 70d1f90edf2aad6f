"""Events are facts about one job: typed here, written once by the log, the same in SSE, NDJSON and long-poll.

Durable events carry `seq` (dense per job, from 1) and `cursor` (`<epoch>-<seq>`); control events
(`waiting`, `ping`, `gap`, `reconnect`) are of the moment, carry neither, and never move a reader's cursor.
A stream of many jobs has words of its own: `selection`, `job_end`, `job_missing`, and an `end` that is of all of them.
Pure: no I/O.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, ClassVar

from milepost.job import NO_PROGRESS, Job, JobError, Json, Progress, Status, Waiting, parse_status

INLINE_RESULT_BYTES = 8192
"""A result whose JSON is longer than this is left out of events and snapshots; fetch it by its URL."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """What every durable event says: which job, which place in its history, when (RFC 3339 UTC)."""

    type: ClassVar[str]
    job_id: str
    seq: int
    cursor: str
    at: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot(Event):
    """The whole job as of `seq`: the first event of every fresh connect, and again after a gap."""

    type: ClassVar[str] = "snapshot"
    job: Job


@dataclass(frozen=True, slots=True, kw_only=True)
class StatusChanged(Event):
    """The job moved to a status that is not terminal, or was asked to stop (`cancel_requested`).

    `run_at` is when a scheduled or retrying job becomes due; `error` why the last attempt failed.
    """

    type: ClassVar[str] = "status"
    status: Status | str
    previous: Status | str | None = None
    attempt: int = 0
    run_at: str | None = None
    cancel_requested: bool = False
    error: JobError | None = None
    worker: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Progressed(Event):
    """The progress of an attempt, whole: the latest one replaces all before it."""

    type: ClassVar[str] = "progress"
    attempt: int
    progress: Progress


@dataclass(frozen=True, slots=True, kw_only=True)
class Logged(Event):
    """One line the task wanted people to read; `level` is debug, info, warning, error or critical."""

    type: ClassVar[str] = "log"
    attempt: int
    level: str
    message: str
    source: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Output(Event):
    """One partial result, the `index`-th (from 0) of its attempt."""

    type: ClassVar[str] = "output"
    attempt: int
    index: int
    data: Json = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Stalled(Event):
    """The worker has been silent for a while; `recovered` when it is heard again."""

    type: ClassVar[str] = "stalled"
    attempt: int
    heartbeat_at: str | None = None
    recovered: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended(Event):
    """The one last event of every job, whatever its outcome; nothing follows it."""

    type: ClassVar[str] = "end"
    status: Status | str
    attempt: int = 0
    progress: Progress = NO_PROGRESS
    result: Json = None
    result_omitted: bool = False
    error: JobError | None = None
    finished_at: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class JobEnded(Ended):
    """The `end` of one job on a stream of many, by another name: whoever hears `end` there may close the stream."""

    type: ClassVar[str] = "job_end"


@dataclass(frozen=True, slots=True, kw_only=True)
class StillWaiting:
    """A job that nobody has begun stands elsewhere in its queue, or waits for another reason.

    Not history: it is told to those who watch, as it changes, and a snapshot says the same. Both are null again
    when the job has left the queue.
    """

    type: ClassVar[str] = "waiting"
    job_id: str
    at: str
    queue_position: int | None = None
    waiting: Waiting | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Ping:
    """Nothing has happened for a while and the connection lives."""

    type: ClassVar[str] = "ping"
    at: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Gap:
    """What lies between the reader's cursor and now is not in the history any more; a snapshot follows.

    `reason` is `trimmed` (older than the history), `epoch` (another history of the job), `ahead` (the
    cursor is in the future) or `invalid` (it is no cursor of this job). Without a `job_id` it is about all jobs of a
    stream of many; `lost` then says that nobody knows any more where the reader was.
    """

    type: ClassVar[str] = "gap"
    job_id: str | None = None
    requested: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Reconnect:
    """The server is about to close this connection, not the job: come back after `retry_ms`."""

    type: ClassVar[str] = "reconnect"
    reason: str
    retry_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """Which jobs a stream of many shows: `jobs` of them so far, fewer than there are if `truncated`.

    `resumed`: the stream goes on where the reader was, and does not repeat what has been said.
    """

    type: ClassVar[str] = "selection"
    at: str
    jobs: int
    truncated: bool = False
    resumed: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class JobMissing:
    """A job of a stream of many is not there: `unknown` (there is none with this id that you may see) or `deleted`."""

    type: ClassVar[str] = "job_missing"
    job_id: str
    at: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AllEnded:
    """The last event of a stream of many: all its jobs have ended, so many in each status (and `missing`).

    On the wire its type is that of the `end` of one job, which is what an EventSource listens for; it has no `job_id`.
    """

    type: ClassVar[str] = "end"
    at: str
    jobs: int
    by_status: Mapping[str, int]


Control = StillWaiting | Ping | Gap | Reconnect | Selection | JobMissing | AllEnded
AnyEvent = Event | Control

DURABLE: tuple[type[Event], ...] = (
    *(Snapshot, StatusChanged, Progressed, Logged, Output, Stalled, Ended),
    JobEnded,
)
CONTROL: tuple[type[Control], ...] = (StillWaiting, Ping, Gap, Reconnect, Selection, JobMissing)
EVENT_TYPES: Mapping[str, type[AnyEvent]] = {cls.type: cls for cls in (*DURABLE, *CONTROL)}
LIFECYCLE = frozenset({StatusChanged.type, Ended.type})
"""The events a history of jobs needs; the recorder moves exactly these into SQL."""


def end_of(job: Job, *, seq: int, cursor: str, at: str) -> Ended:
    """Return the end of a finished job as the job itself tells it, for when its event is gone.

    `at` is its moment where the job does not know when it finished.
    """
    return Ended(
        job_id=job.id,
        seq=seq,
        cursor=cursor,
        at=job.finished_at or at,
        status=job.status,
        attempt=job.attempt,
        progress=job.progress,
        result=job.result,
        result_omitted=job.result_omitted,
        error=job.error,
        finished_at=job.finished_at,
    )


def to_wire(event: AnyEvent) -> dict[str, Json]:
    """Return the event as a JSON object, `type` first."""
    wire: dict[str, Json] = {"type": event.type}
    for f in fields(event):
        value = getattr(event, f.name)
        wire[f.name] = value.to_wire() if isinstance(value, Job | Progress | JobError | Waiting) else value
    return wire


def from_wire(wire: Mapping[str, Json]) -> AnyEvent | None:
    """Read an event; None for a type this version does not know, which a client must ignore (DESIGN §2).

    Raises `TypeError` when a field that the type cannot do without is missing.
    """
    cls: Any = EVENT_TYPES.get(wire.get("type", ""))
    if cls is Ended and "job_id" not in wire:
        cls = AllEnded
    if cls is None:
        return None
    known = {f.name: wire[f.name] for f in fields(cls) if f.name in wire}
    for name, read in _READERS.items():
        if known.get(name) is not None:
            known[name] = read(known[name])
    event: AnyEvent = cls(**known)
    return event


_READERS: Mapping[str, Any] = {
    "job": Job.from_wire,
    "progress": Progress.from_wire,
    "error": JobError.from_wire,
    "waiting": Waiting.from_wire,
    "status": parse_status,
    "previous": parse_status,
}
