"""What Hypothesis may make up: text that breaks readers, and every shape the contract allows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from hypothesis import strategies as st

from milepost.events import (
    Ended,
    Event,
    Logged,
    Output,
    Progressed,
    Snapshot,
    Stalled,
    StatusChanged,
)
from milepost.fold import fold
from milepost.job import NEXT, ErrorCode, Job, JobError, Progress, Status, Step, StepRef

HOSTILE = '\0\r\n\u2028\u2029\u0085\x0b\x0c\x1c\x1d\x1e:\ufeff"\\<>&\U0001f680é \t'
"""Line ends of somebody, ends of strings in C, the separators of SSE, JSON and HTML, and an emoji."""

JOB_ID = "0193d8a0-0000-7000-8000-000000000001"
AT = "2026-11-21T03:30:00.000Z"

# Halves of surrogate pairs never leave (tests/unit/test_codec_surrogates.py): all other text arrives as it was.
text = st.text(st.one_of(st.sampled_from(HOSTILE), st.characters(codec="utf-8")), max_size=12)
names = st.text("abcdefghijklmnopqrstuvwxyz_.", min_size=1, max_size=8)
numbers = st.one_of(st.integers(-(2**53), 2**53), st.floats(allow_nan=False, allow_infinity=False))
json_values = st.recursive(
    st.one_of(st.none(), st.booleans(), numbers, text),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(text, inner, max_size=3)),
    max_leaves=6,
)
percents = st.one_of(st.none(), st.floats(0, 100))
step_refs = st.builds(
    StepRef, key=names, name=text, index=st.integers(1, 9), count=st.none() | st.integers(1, 9)
)
steps = st.builds(
    Step, key=names, name=text, status=names, percent=percents, weight=st.floats(0, 100, exclude_min=True)
)
progresses = st.builds(
    Progress,
    current=st.none() | numbers,
    total=st.none() | numbers,
    unit=st.none() | names,
    percent=percents,
    message=st.none() | text,
    step=st.none() | step_refs,
    steps=st.lists(steps, max_size=3).map(tuple),
    rate=st.none() | numbers,
    eta_seconds=st.none() | numbers,
    updated_at=st.none() | st.just(AT),
)
errors = st.builds(
    JobError,
    code=st.sampled_from([str(code) for code in ErrorCode]),
    message=text,
    type=st.none() | names,
    attempt=st.integers(0, 9),
    retryable=st.booleans(),
)


@st.composite
def jobs(draw: st.DrawFn) -> Job:
    """Any job at all, consistent or not: for what must hold of every shape."""
    status = draw(st.sampled_from(Status))
    maybe_at = st.none() | st.just(AT)
    return Job(
        id=JOB_ID,
        task=draw(names),
        status=status,
        done=status.is_terminal,
        version=draw(st.integers(0, 99)),
        attempt=draw(st.integers(0, 9)),
        max_attempts=draw(st.integers(1, 9)),
        queue=draw(names),
        priority=draw(st.integers(-9, 9)),
        tags=tuple(draw(st.lists(text, max_size=3))),
        metadata=draw(st.dictionaries(text, json_values, max_size=3)),
        progress=draw(progresses),
        queue_position=draw(st.none() | st.integers(1, 99)),
        heartbeat_at=draw(maybe_at),
        stalled=draw(st.booleans()),
        cancel_requested=draw(st.booleans()),
        result=draw(json_values),
        result_omitted=draw(st.booleans()),
        error=draw(st.none() | errors),
        created_at=draw(maybe_at),
        run_at=draw(maybe_at),
        started_at=draw(maybe_at),
        finished_at=draw(maybe_at),
        expires_at=draw(maybe_at),
        batch_id=draw(st.none() | names),
        parent_id=draw(st.none() | names),
        retry_of=draw(st.none() | names),
    )


def _place(seq: int) -> dict[str, Any]:
    return {"job_id": JOB_ID, "seq": seq, "cursor": f"abcd1234-{seq}", "at": AT}


@st.composite
def events(draw: st.DrawFn) -> Event:
    """Any durable event."""
    place = _place(draw(st.integers(1, 99)))
    attempt = draw(st.integers(0, 9))
    make: list[Callable[[], Event]] = [
        lambda: Snapshot(**place, job=draw(jobs())),
        lambda: _status_changed(draw, place, draw(st.sampled_from(Status)), attempt),
        lambda: Progressed(**place, attempt=attempt, progress=draw(progresses)),
        lambda: Logged(
            **place, attempt=attempt, level=draw(names), message=draw(text), source=draw(st.none() | names)
        ),
        lambda: Output(**place, attempt=attempt, index=draw(st.integers(0, 9)), data=draw(json_values)),
        lambda: Stalled(
            **place,
            attempt=attempt,
            heartbeat_at=draw(st.none() | st.just(AT)),
            recovered=draw(st.booleans()),
        ),
        lambda: _ended(draw, place, draw(st.sampled_from(Status)), attempt),
    ]
    return draw(st.sampled_from(make))()


@st.composite
def histories(draw: st.DrawFn, *, most: int = 12) -> tuple[Job, list[Event]]:
    """A new job and a legal history of it: dense `seq`, allowed transitions, nothing after the end."""
    job = first = Job(id=JOB_ID, task="t", max_attempts=9, created_at=AT)
    seen: list[Event] = []
    for seq in range(1, draw(st.integers(1, most)) + 1):
        event = _following(draw, job, _place(seq))
        seen.append(event)
        job = fold(job, event)
        if job.done:
            break
    return first, seen


def _following(draw: st.DrawFn, job: Job, place: dict[str, Any]) -> Event:
    kinds = ["status", "snapshot"] + (
        ["progress", "log", "output", "stalled"] if job.status == "running" else []
    )
    make: dict[str, Callable[[], Event]] = {
        "status": lambda: _next_status(draw, job, place),
        "snapshot": lambda: Snapshot(**place, job=replace(job, version=place["seq"])),
        "progress": lambda: Progressed(**place, attempt=job.attempt, progress=draw(progresses)),
        "log": lambda: Logged(**place, attempt=job.attempt, level="info", message=draw(text)),
        "output": lambda: Output(**place, attempt=job.attempt, index=0, data=draw(json_values)),
        "stalled": lambda: Stalled(**place, attempt=job.attempt, recovered=draw(st.booleans())),
    }
    return make[draw(st.sampled_from(kinds))]()


def _next_status(draw: st.DrawFn, job: Job, place: dict[str, Any]) -> Event:
    status = draw(st.sampled_from(sorted(NEXT[Status(job.status)])))
    handed_back = status is Status.QUEUED and job.attempt > 0
    attempt = job.attempt + (status is Status.RUNNING) - handed_back
    make = _ended if status.is_terminal else _status_changed
    return make(draw, place, status, attempt)


def _status_changed(draw: st.DrawFn, place: dict[str, Any], status: Status, attempt: int) -> Event:
    return StatusChanged(
        **place,
        status=status,
        previous=draw(st.none() | st.sampled_from(Status)),
        attempt=attempt,
        run_at=draw(st.none() | st.just(AT)),
        cancel_requested=draw(st.booleans()),
        error=draw(st.none() | errors),
        worker=draw(st.none() | names),
    )


def _ended(draw: st.DrawFn, place: dict[str, Any], status: Status, attempt: int) -> Event:
    return Ended(
        **place,
        status=status,
        attempt=attempt,
        progress=draw(progresses),
        result=draw(json_values),
        result_omitted=draw(st.booleans()),
        error=draw(st.none() | errors),
        finished_at=draw(st.none() | st.just(AT)),
    )


def cuts(data: bytes) -> st.SearchStrategy[list[bytes]]:
    """The same bytes in any pieces."""
    places = st.lists(st.integers(0, len(data)), max_size=12).map(sorted)
    return places.map(lambda at: [data[a:b] for a, b in zip([0, *at], [*at, len(data)], strict=True)])
