"""Events as the hub holds them: encoded once, then shared by every stream that sends them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from milepost.codec import Cursor, dumps, encode_frame, encode_retry
from milepost.events import (
    Control,
    Ended,
    Event,
    Gap,
    Ping,
    Progressed,
    Reconnect,
    Snapshot,
    StatusChanged,
    StillWaiting,
    to_wire,
)
from milepost.job import Job, Waiting

Place = tuple[int | None, Waiting | None]
"""What a reader was told of where its job stands: `queue_position` and `waiting`."""

COMMENT = "comment"
"""The kind of a frame that is no event."""

NOWHERE: Place = (None, None)


@dataclass(frozen=True, slots=True)
class Frame:
    """One event: `seq` is its place in the job's history (0 for control events), `data` its JSON."""

    seq: int
    kind: str
    data: bytes
    sse: bytes
    place: Place | None = None
    """Where the job stands after this event, for its reader; None: where it stood before."""

    @property
    def is_end(self) -> bool:
        return self.kind == Ended.type

    @property
    def may_be_skipped(self) -> bool:
        """Progress is whole every time: a later one makes it superfluous."""
        return self.kind == Progressed.type


def durable(cursor: Cursor, kind: str, data: bytes) -> Frame:
    """Frame an event of the history."""
    place = NOWHERE if kind == StatusChanged.type else None
    return Frame(cursor.seq, kind, data, encode_frame(kind, data, str(cursor)), place)


def snapshot(cursor: Cursor, data: dict[str, Any], job: Job) -> Frame:
    """Frame a snapshot of `job`; `cursor` is of the last event that it includes (or the one before the end)."""
    return replace(durable(cursor, Snapshot.type, dumps(data).encode()), place=place_of(job))


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
    return snapshot(cursor, data, job)


def ended(cursor: Cursor, event: Event) -> Frame:
    """Frame an `end` that does not come from the history."""
    return durable(cursor, Ended.type, dumps(to_wire(event)).encode())


def control(event: Control) -> Frame:
    """Frame a control event: no id, the reader's cursor stays where it is."""
    data = dumps(to_wire(event)).encode()
    return Frame(0, event.type, data, encode_frame(event.type, data))


def standing(job: Job, at: str) -> Frame:
    """Frame where a waiting job stands."""
    event = StillWaiting(job_id=job.id, at=at, queue_position=job.queue_position, waiting=job.waiting)
    return replace(control(event), place=place_of(job))


def place_of(job: Job) -> Place:
    return job.queue_position, job.waiting


def ping(at: str) -> Frame:
    return control(Ping(at=at))


def gap(job_id: str | None, requested: str, reason: str) -> Frame:
    shown = "".join(c if " " <= c <= "~" else "?" for c in requested[:64])
    return control(Gap(job_id=job_id, requested=shown, reason=reason))


def reconnect(reason: str, retry_ms: int) -> Frame:
    """Frame a goodbye. An EventSource does not look into events: it waits as long as the `retry` field says."""
    said = control(Reconnect(reason=reason, retry_ms=retry_ms))
    return Frame(0, said.kind, said.data, encode_retry(retry_ms) + said.sse)


def comment(words: str) -> Frame:
    """Frame what is for people who look at the bytes of a stream: SSE clients drop it, NDJSON has no place for it."""
    return Frame(0, COMMENT, b"", f": {words}\n\n".encode())


DEGRADED, LIVE = comment("degraded"), comment("live")


def conflate(frames: list[Frame]) -> list[Frame]:
    """Drop every progress that a later one replaces; everything else stays, in order."""
    last = next((i for i in range(len(frames) - 1, -1, -1) if frames[i].may_be_skipped), -1)
    return [frame for i, frame in enumerate(frames) if i == last or not frame.may_be_skipped]
