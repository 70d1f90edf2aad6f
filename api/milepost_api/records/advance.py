"""What an event of the log changes in a record. Pure, and harmless when an event comes twice or late."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from milepost.codec import Cursor, dumps
from milepost.events import Ended, Event, StatusChanged, from_wire
from milepost.job import Status
from milepost.log.lifecycle import Outcome
from milepost.times import parse
from milepost_api.records.standing import Standing
from milepost_api.records.table import JobRecord

NO_OUTCOME = Outcome()


def lifecycle_event(wire: Mapping[str, Any] | None) -> StatusChanged | Ended | None:
    """Return the event that a recorder can apply, None for what is none."""
    try:
        event = from_wire(wire or {})
        if not isinstance(event, StatusChanged | Ended):
            return None
        for moment in (event.at, getattr(event, "run_at", None), getattr(event, "finished_at", None)):
            if moment is not None:
                parse(moment)
    except (TypeError, ValueError):
        return None
    return event if Cursor.parse(event.cursor) else None


def advance(
    record: Standing | JobRecord, event: StatusChanged | Ended, outcome: Outcome = NO_OUTCOME
) -> None:
    """Apply one event, if it is news."""
    cursor = Cursor.parse(event.cursor)
    if cursor is None:
        return
    if isinstance(event, StatusChanged):
        _remember(record, event)
    if record.done:
        return
    record.dispatched_at = record.dispatched_at or parse(event.at)  # it is in the log
    if not _is_news(record, cursor, event):
        return
    record.epoch, record.version, record.updated_at = cursor.epoch, cursor.seq, parse(event.at)
    record.status, record.attempt = str(event.status), event.attempt
    record.error = event.error.to_wire() if event.error else None
    if isinstance(event, Ended):
        _end(record, event, outcome)
    else:
        record.run_at = parse(event.run_at) if event.run_at else None


def is_forgotten(record: Standing | JobRecord, event: StatusChanged | Ended) -> bool:
    """Whether the log has forgotten the job's end: the job goes on after it."""
    if not isinstance(event, StatusChanged) or not record.done or record.finished_at is None:
        return False
    return parse(event.at) > record.finished_at


def _is_news(record: Standing | JobRecord, cursor: Cursor, event: Event) -> bool:
    if isinstance(event, Ended):
        return True  # nothing follows an end, whatever the clock of another server or a number says
    if record.epoch == cursor.epoch:
        return cursor.seq > record.version
    # Two histories of one job (Redis lost the first): their numbers do not compare, their times do.
    return record.updated_at is None or parse(event.at) >= record.updated_at


def _remember(record: Standing | JobRecord, event: StatusChanged) -> None:
    """When the job began, and that it was asked to stop: of whichever history, in whatever order they are recorded.

    A job that was handed back, or that Redis has lost, has begun when it began first: so the log has it, too. A cancel
    was answered and holds, also where Redis has lost it.
    """
    record.cancel_requested = record.cancel_requested or event.cancel_requested
    if event.status == Status.RUNNING:
        began = parse(event.at)
        record.started_at = min(record.started_at, began) if record.started_at else began


def _end(record: Standing | JobRecord, event: Ended, outcome: Outcome) -> None:
    record.done, record.run_at = True, None
    record.finished_at = parse(event.finished_at or event.at)
    # As everybody was told; the events that say it may be lost, or be recorded later.
    record.cancel_requested = record.cancel_requested or outcome.cancel_requested
    if outcome.started_at:
        record.started_at = parse(outcome.started_at)
    record.progress = event.progress.to_wire()
    # The log may have lost its copy since; the event carries all but a large one.
    inline = dumps(event.result) if event.status == Status.SUCCEEDED and not event.result_omitted else None
    record.result = outcome.result or inline
    record.expires_at = parse(outcome.expires_at) if outcome.expires_at else None
    if outcome.traceback:
        record.traceback = outcome.traceback.replace("\0", "\\x00")  # PostgreSQL's text cannot hold a NUL
