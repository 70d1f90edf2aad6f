"""Everything that was seen of one job, for the laws to judge. No I/O, no clock.

Times are seconds since 1970 by the clock of Redis, which is that of the machine the suite runs on.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from tests.faults.witness import Run

Wire = Mapping[str, Any]

_PID = re.compile(r"-(\d+)-[0-9a-f]+$")


@dataclass(frozen=True, slots=True)
class Hurt:
    """From when to when a worker process could not speak: stopped, or dead (`until` is infinite)."""

    pid: int
    since: float
    until: float


@dataclass(frozen=True, slots=True)
class Cancel:
    """When a cancel was answered, and how."""

    answer: str
    at: float


@dataclass(frozen=True, slots=True)
class Claim:
    """The beginning of an attempt, as the history tells it."""

    seq: int
    at: float
    attempt: int
    pid: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Story:
    """One job. `name` is what the witness calls it; `seen` what a reader of the stream was sent, in order."""

    job_id: str
    name: str
    history: Sequence[Wire]
    """Every event that the log holds."""
    seen: Sequence[Wire]
    """Every event that a reader of the stream was sent, from its first connection on, gaps included."""
    job: Wire
    """GET /v1/jobs/{id}, after all of that."""
    record: Wire
    """The job as the list of jobs has it, which reads SQL for what is done."""
    runs: Sequence[Run] = ()
    polls: Sequence[Wire] = ()
    """Every answer that somebody got who polled, in order; the last one was given when all was over."""
    cancels: Sequence[Cancel] = ()
    hurt: Sequence[Hurt] = ()
    losses: Sequence[float] = ()
    """When Redis lost data that it had acknowledged."""
    allowed: frozenset[str] = frozenset({"succeeded"})
    """The outcomes that this fault may have: a status, or `failed:` and the code of the error."""
    spared: bool = False
    """Nothing happened that may cost an attempt."""
    not_before: float | None = None
    """When it was asked to run at the earliest."""
    lease_seconds: float = 2.0
    heartbeat_seconds: float = 0.5

    @property
    def outcome(self) -> str:
        """How it ended, in a word: `succeeded`, `failed:worker_lost`; `no end`."""
        if not self.job.get("done"):
            return "no end"
        status = str(self.job["status"])
        return f"{status}:{self.job['error']['code']}" if status == "failed" else status


def seconds(moment: str) -> float:
    """Return an RFC 3339 moment as seconds."""
    return datetime.fromisoformat(moment).timestamp()


def claims_of(history: Sequence[Wire]) -> list[Claim]:
    """Return the claims of a history, in order. A `running` that only tells of a cancel is none."""
    return [
        Claim(event["seq"], seconds(event["at"]), event["attempt"], pid_of(event["worker"]))
        for event in history
        if event["type"] == "status" and event["status"] == "running" and event["previous"] != "running"
    ]


def pid_of(worker: str) -> int:
    """Return the process id that every worker's id holds."""
    found = _PID.search(worker)
    if found is None:
        raise ValueError(f"{worker!r} is no worker's id")
    return int(found[1])


def statuses_of(history: Sequence[Wire]) -> list[Wire]:
    return [event for event in history if event["type"] in {"status", "end"}]
