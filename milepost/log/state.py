"""Reading what Redis holds of a job: the fields of its state, the entries of its history, the replies of scripts."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any

from milepost.codec import Cursor
from milepost.job import Job, parse_status
from milepost.log.shapes import Claim, Created, Entry, View
from milepost.tenants import DEFAULT_TENANT

STATE_FIELDS = (
    "task",
    "queue",
    "priority",
    "max_attempts",
    "tags",
    "metadata",
    "created_at",
    "batch_id",
    "parent_id",
    "retry_of",
    "status",
    "attempt",
    "progress",
    "heartbeat_at",
    "stalled",
    "cancel_requested",
    "result",
    "result_omitted",
    "error",
    "run_at",
    "started_at",
    "finished_at",
    "expires_at",
)
CLAIM_FIELDS = ("task", "params", "queue", "max_attempts", "timeout_seconds", "checkpoint")
_EPOCH = re.compile(rb'"cursor":"([0-9a-z]+)-')


def view_from(job_id: str, after: Cursor | None, reply: Sequence[Any]) -> View:
    """Return what `read.lua` said of a job and of what followed `after`."""
    owner, *state = reply[4]
    here = Cursor(reply[0].decode(), int(reply[1]))
    entries = tuple(entry_from(raw) for raw in reply[5])
    return View(
        job=job_from(job_id, here.seq, state, position_from(reply, 7)),
        cursor=here,
        at=reply[3].decode(),
        entries=entries,
        gap=gap_between(after, here, oldest=int(reply[2]), known=reply[6] == 1) if after else None,
        more=bool(entries) and entries[-1].seq < here.seq,
        tenant=owner_from(owner),
    )


def created_from(reply: Sequence[Any]) -> Created | None:
    return Created(position_from(reply, 2)) if reply[0] == b"created" else None


def entry_from(raw: Sequence[Any]) -> Entry:
    position, (_, kind, _, data) = raw
    found = _EPOCH.search(data)  # the history may have branched since: the event says where it was written
    assert found is not None, f"an event without a cursor: {data[:200]!r}"
    return Entry(Cursor(found[1].decode(), int(position.split(b"-")[0])), kind.decode(), data)


def position_from(reply: Sequence[Any], place: int) -> int | None:
    """A false of Lua at the end of an array comes as None, or not at all."""
    return reply[place] if len(reply) > place else None


def claim_from(job_id: str, values: Sequence[bytes | None], waited_ms: int) -> Claim:
    *said, checkpoint = values
    fence, attempt, task, params, queue, max_attempts, timeout = ((value or b"").decode() for value in said)
    return Claim(
        job_id=job_id,
        task=task,
        params=json.loads(params),
        queue=queue,
        fence=int(fence),
        attempt=int(attempt),
        max_attempts=int(max_attempts),
        timeout_seconds=float(timeout) if timeout else None,
        waited_seconds=waited_ms / 1000,
        checkpoint=None if checkpoint is None else checkpoint.decode(),
    )


def gap_between(after: Cursor, here: Cursor, *, oldest: int, known: bool) -> str | None:
    if not known:
        return "epoch"
    if after.seq > here.seq:
        return "ahead"
    return "trimmed" if after.seq < here.seq and oldest > after.seq + 1 else None


def owner_from(raw: bytes | None) -> str:
    """Return the tenant of a job by its state field, which a job from before there were tenants does not have."""
    return raw.decode() if raw else DEFAULT_TENANT


def is_done(status: str) -> bool:
    parsed = parse_status(status)
    return getattr(parsed, "is_terminal", False)


def job_from(job_id: str, seq: int, values: Sequence[bytes | None], position: int | None = None) -> Job:
    state = {name: (raw or b"").decode() for name, raw in zip(STATE_FIELDS, values, strict=True)}

    def parsed(name: str) -> Any:
        return json.loads(state[name]) if state[name] else None

    return Job.from_wire(
        {
            "id": job_id,
            "task": state["task"],
            "status": state["status"],
            "done": is_done(state["status"]),
            "version": seq,
            "attempt": int(state["attempt"] or 0),
            "max_attempts": int(state["max_attempts"] or 1),
            "queue": state["queue"],
            "priority": int(state["priority"] or 0),
            "tags": parsed("tags"),
            "metadata": parsed("metadata") or {},
            "progress": parsed("progress"),
            "queue_position": position,
            "heartbeat_at": state["heartbeat_at"] or None,
            "stalled": state["stalled"] == "1",
            "cancel_requested": state["cancel_requested"] == "1",
            "result": parsed("result"),
            "result_omitted": state["result_omitted"] == "1",
            "error": parsed("error"),
            "created_at": state["created_at"] or None,
            "run_at": state["run_at"] or None,
            "started_at": state["started_at"] or None,
            "finished_at": state["finished_at"] or None,
            "expires_at": state["expires_at"] or None,
            "batch_id": state["batch_id"] or None,
            "parent_id": state["parent_id"] or None,
            "retry_of": state["retry_of"] or None,
        }
    )
