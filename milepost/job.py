"""What a job is: its statuses and what may follow each, its progress, its error, its public shape.

Pure: no I/O, no clock. Times are RFC 3339 UTC text, as on the wire (DESIGN §2).
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field, fields
from enum import StrEnum
from functools import cache
from typing import Any, cast

Json = Any
"""Whatever `json.loads` can return."""


class Status(StrEnum):
    """Where a job stands. The last four are terminal: nothing follows them."""

    SCHEDULED = "scheduled"
    QUEUED = "queued"
    RUNNING = "running"
    RETRYING = "retrying"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"
    EXPIRED = "expired"

    @property
    def is_terminal(self) -> bool:
        return not NEXT[self]


_ENDS_UNSTARTED = frozenset({Status.CANCELLED, Status.EXPIRED, Status.FAILED})

NEXT: Mapping[Status, frozenset[Status]] = {
    Status.SCHEDULED: frozenset({Status.QUEUED, Status.RUNNING}) | _ENDS_UNSTARTED,
    Status.QUEUED: frozenset({Status.RUNNING}) | _ENDS_UNSTARTED,
    # QUEUED: handed back by a worker that drains; RETRYING: the attempt failed and another follows.
    Status.RUNNING: frozenset(
        {Status.QUEUED, Status.RETRYING, Status.SUCCEEDED, Status.FAILED, Status.CANCELLED}
    ),
    Status.RETRYING: frozenset({Status.QUEUED, Status.RUNNING}) | _ENDS_UNSTARTED,
    Status.SUCCEEDED: frozenset(),
    Status.FAILED: frozenset(),
    Status.CANCELLED: frozenset(),
    Status.EXPIRED: frozenset(),
}

_STATUS_OF: Mapping[str, Status] = {status.value: status for status in Status}
TERMINAL = frozenset(status for status in Status if status.is_terminal)
WAITING = frozenset({Status.SCHEDULED, Status.QUEUED, Status.RETRYING})
"""Nobody runs the job, and somebody shall."""


class ErrorCode(StrEnum):
    """Why a job, or one attempt of it, did not succeed."""

    EXCEPTION = "exception"
    TIMEOUT = "timeout"
    WORKER_LOST = "worker_lost"
    CANCELLED = "cancelled"
    START_TIMEOUT = "start_timeout"
    SERIALIZATION = "serialization"
    UNKNOWN_TASK = "unknown_task"
    LOST = "lost"


@dataclass(frozen=True, slots=True, kw_only=True)
class JobError:
    """What went wrong, for whom it concerns: `traceback` is for operators and not shown to clients."""

    code: str
    message: str
    type: str | None = None
    attempt: int = 0
    retryable: bool = False
    traceback: str | None = None

    def to_wire(self, *, operator: bool = False) -> dict[str, Json]:
        wire = _plain(self)
        if not operator or self.traceback is None:
            del wire["traceback"]
        return wire

    @classmethod
    def from_wire(cls, wire: Mapping[str, Json]) -> JobError:
        return cls(**_known(cls, wire))


@dataclass(frozen=True, slots=True, kw_only=True)
class StepRef:
    """The step under way: the `index`-th (from 1) of `count`, where the count is known."""

    key: str
    name: str
    index: int
    count: int | None = None

    def to_wire(self) -> dict[str, Json]:
        return _plain(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One top-level step of a job as the plan and the reports show it; `percent` is 0–100 or None."""

    key: str
    name: str
    status: str
    percent: float | None = None
    weight: float = 1.0

    def to_wire(self) -> dict[str, Json]:
        return _plain(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far an attempt is. Always whole, never a delta, so that the latest one is enough.

    `percent` is 0–100 or None (indeterminate); it never falls within an attempt and stays below 100
    until the job has succeeded. `rate` is units per second, `eta_seconds` seconds; None when unknown.
    """

    current: float | None = None
    total: float | None = None
    unit: str | None = None
    percent: float | None = None
    message: str | None = None
    step: StepRef | None = None
    steps: tuple[Step, ...] = ()
    rate: float | None = None
    eta_seconds: float | None = None
    updated_at: str | None = None

    def to_wire(self) -> dict[str, Json]:
        wire = _plain(self)
        wire["step"] = self.step and self.step.to_wire()
        wire["steps"] = [step.to_wire() for step in self.steps]
        return wire

    @classmethod
    def from_wire(cls, wire: Mapping[str, Json]) -> Progress:
        known = _known(cls, wire)
        if step := known.get("step"):
            known["step"] = StepRef(**_known(StepRef, step))
        known["steps"] = tuple(Step(**_known(Step, step)) for step in known.get("steps") or ())
        return cls(**known)


NO_PROGRESS = Progress()


class WaitingReason(StrEnum):
    """What keeps a job that is due from being begun."""

    NO_WORKER_FOR_QUEUE = "no_worker_for_queue"
    NO_WORKER_FOR_TASK = "no_worker_for_task"
    WORKERS_BUSY = "workers_busy"


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """Why a job waits in its queue, and a sentence that says what to do about it."""

    reason: str
    message: str

    def to_wire(self) -> dict[str, Json]:
        return _plain(self)

    @classmethod
    def from_wire(cls, wire: Mapping[str, Json]) -> Waiting:
        return cls(**_known(cls, wire))


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """The public shape of a job: what `GET /v1/jobs/{id}` and every `snapshot` event carry.

    `version` is the `seq` of the last event folded in. `status` is a `Status`, or plain text if a newer
    server sends one that this version does not know; `done` says whether the job has ended either way.
    `queue_position` is 1 for the job that is taken next, None unless the job waits in its queue; `waiting` is
    None, too, while nothing keeps the job from being begun.
    """

    id: str
    task: str
    status: Status | str = Status.QUEUED
    done: bool = False
    version: int = 0
    attempt: int = 0
    max_attempts: int = 1
    queue: str = "default"
    priority: int = 0
    tags: tuple[str, ...] = ()
    metadata: Mapping[str, Json] = field(default_factory=dict)
    progress: Progress = NO_PROGRESS
    queue_position: int | None = None
    waiting: Waiting | None = None
    heartbeat_at: str | None = None
    stalled: bool = False
    cancel_requested: bool = False
    result: Json = None
    result_omitted: bool = False
    error: JobError | None = None
    created_at: str | None = None
    run_at: str | None = None
    started_at: str | None = None
    finished_at: str | None = None
    expires_at: str | None = None
    batch_id: str | None = None
    parent_id: str | None = None
    retry_of: str | None = None

    def to_wire(self, *, operator: bool = False) -> dict[str, Json]:
        wire = _plain(self)
        wire["tags"] = list(self.tags)
        wire["metadata"] = dict(self.metadata)
        wire["progress"] = self.progress.to_wire()
        wire["waiting"] = self.waiting and self.waiting.to_wire()
        wire["error"] = self.error and self.error.to_wire(operator=operator)
        return wire

    @classmethod
    def from_wire(cls, wire: Mapping[str, Json]) -> Job:
        """Read a job; fields this version does not know are ignored (DESIGN §2)."""
        known = _known(cls, wire)
        known["status"] = parse_status(known.get("status", Status.QUEUED))
        known["tags"] = tuple(known.get("tags") or ())
        known["progress"] = Progress.from_wire(known.get("progress") or {})
        known["waiting"] = Waiting.from_wire(known["waiting"]) if known.get("waiting") else None
        known["error"] = JobError.from_wire(known["error"]) if known.get("error") else None
        return cls(**known)


def parse_status(text: str) -> Status | str:
    """Return the `Status` of that name, or the text itself when it names none."""
    return _STATUS_OF.get(text, text)


def _plain(value: Any) -> dict[str, Json]:
    """One level of a dataclass as a dict, in field order: cheaper and plainer than `asdict`."""
    return {name: getattr(value, name) for name in _names(value.__class__)}


def _known(cls: Any, wire: Mapping[str, Json]) -> dict[str, Json]:
    return {name: wire[name] for name in _names(cls) if name in wire}


@cache
def _names(cls: Hashable) -> tuple[str, ...]:
    return tuple(field.name for field in fields(cast("Any", cls)))
