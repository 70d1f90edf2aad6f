"""The events of one made-up job, as the server would send them."""

from __future__ import annotations

from typing import Any

from milepost.codec import dumps, encode_frame, encode_retry
from milepost.events import AnyEvent, Ended, Event, Progressed, Snapshot, StatusChanged, to_wire
from milepost.job import Job, Progress, Status

JOB_ID = "0190aaaa-0000-7000-8000-000000000001"
EPOCH = "k3v9x2ab"
AT = "2030-01-31T08:00:00.000Z"


def job(**changes: Any) -> Job:
    """The job of the story, queued unless said otherwise."""
    return Job(**{"id": JOB_ID, "task": "demo.count", "version": 1, "created_at": AT, **changes})


def place(seq: int, epoch: str = EPOCH) -> dict[str, Any]:
    """What every durable event says of its place."""
    return {"job_id": JOB_ID, "seq": seq, "cursor": f"{epoch}-{seq}", "at": AT}


def snapshot(seq: int = 1, epoch: str = EPOCH, **changes: Any) -> Snapshot:
    return Snapshot(**place(seq, epoch), job=job(version=seq, **changes))


def started(seq: int = 2) -> StatusChanged:
    return StatusChanged(**place(seq), status=Status.RUNNING, previous=Status.QUEUED, attempt=1)


def progressed(seq: int, current: int, total: int = 10, epoch: str = EPOCH, **more: Any) -> Progressed:
    percent = 100.0 * current / total
    return Progressed(
        **place(seq, epoch),
        attempt=1,
        progress=Progress(current=current, total=total, percent=percent, unit="rows", **more),
    )


def ended(seq: int, status: Status = Status.SUCCEEDED, **more: Any) -> Ended:
    return Ended(
        **place(seq), status=status, attempt=1, progress=Progress(current=10, total=10, percent=100.0), **more
    )


def whole_story() -> list[Event]:
    """A run from the first snapshot to the end, at every seq from 1 to 7."""
    return [snapshot(), started(), *(progressed(seq, seq) for seq in range(3, 7)), ended(7, result=10)]


def frame(event: AnyEvent) -> bytes:
    """One event as SSE; control events carry no id."""
    return encode_frame(event.type, dumps(to_wire(event)).encode(), getattr(event, "cursor", None))


def stream(*events: AnyEvent, retry_ms: int | None = None) -> bytes:
    head = b"" if retry_ms is None else encode_retry(retry_ms)
    return head + b"".join(frame(event) for event in events)
