"""What the log is given, and what it answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from milepost.codec import Cursor
from milepost.job import Job, JobError
from milepost.tenants import DEFAULT_TENANT

CancelOutcome = Literal["cancelled", "requested", "already_done"]


@dataclass(frozen=True, slots=True, kw_only=True)
class NewJob:
    """What the log must know of an accepted job; `params` are JSON already. Times in seconds."""

    id: str
    task: str
    params: str = "{}"
    queue: str = "default"
    priority: int = 0
    max_attempts: int = 1
    timeout_seconds: float | None = None
    tags: Sequence[str] = ()
    metadata: Mapping[str, Any] = field(default_factory=dict)
    created_at: str
    due_ms: int | None = None
    """When to run it, in ms since 1970; None: after `delay_ms`."""
    delay_ms: int = 0
    batch_id: str | None = None
    parent_id: str | None = None
    retry_of: str | None = None
    tenant: str = DEFAULT_TENANT
    attempt: int = 0
    """Attempts that it has used up: of a job that Redis has lost."""
    error: JobError | None = None
    """What became of the last of them: the job comes back as `retrying`, or ends when none are left."""
    started_at: str | None = None
    cancel_requested: bool = False
    """It was asked to stop before Redis lost it: it ends as `cancelled`, whatever attempts are left."""


@dataclass(frozen=True, slots=True)
class Created:
    """A job has begun its history; `position` is its place in the queue, from 1, None if it is not due yet."""

    position: int | None


@dataclass(frozen=True, slots=True)
class Claim:
    """An attempt that holds its job: everything needed to run it. `fence` tells it from all others."""

    job_id: str
    task: str
    params: dict[str, Any]
    queue: str
    fence: int
    attempt: int
    max_attempts: int
    timeout_seconds: float | None
    waited_seconds: float = field(default=0.0, compare=False)
    """From due to taken, by Redis's clock."""
    checkpoint: str | None = None
    """What the last attempt that kept something kept, as JSON."""


@dataclass(frozen=True, slots=True)
class Taken:
    """The attempts that a worker has begun. `soon_seconds` until there is more to find, None if nothing is known.

    `ended`: the queues that were looked through to the end of what is due.
    """

    claims: tuple[Claim, ...]
    soon_seconds: float | None
    ended: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Entry:
    """One event as the history holds it: its cursor, its type, its JSON (one ASCII line)."""

    cursor: Cursor
    kind: str
    data: bytes

    @property
    def seq(self) -> int:
        return self.cursor.seq


@dataclass(frozen=True, slots=True)
class View:
    """The job and the history after a cursor, of one moment.

    The cursor may be of an epoch from which this history branched later. `gap` says why it could not be served
    (see `milepost.events.Gap`); then `entries` is empty and the reader starts again from `job`. `more` says that
    the history goes on after the last entry.
    """

    job: Job
    cursor: Cursor
    at: str
    entries: tuple[Entry, ...]
    gap: str | None
    more: bool
    tenant: str
