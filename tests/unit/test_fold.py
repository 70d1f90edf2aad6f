"""The laws of `fold`: what is left of a history does not depend on how it arrived."""

from __future__ import annotations

from dataclasses import replace
from functools import reduce
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from milepost.events import (
    Ended,
    Event,
    Logged,
    Progressed,
    Snapshot,
    Stalled,
    StatusChanged,
    StillWaiting,
)
from milepost.fold import fold
from milepost.job import NO_PROGRESS, WAITING, Job, Progress, Status, Waiting
from tests.support import strategies as some
from tests.support.strategies import AT, JOB_ID

History = tuple[Job, list[Event]]


def place(seq: int) -> dict[str, Any]:
    return {"job_id": JOB_ID, "seq": seq, "cursor": f"abcd1234-{seq}", "at": AT}


@given(some.histories(), st.data())
def test_duplicates_and_late_events_change_nothing(history: History, data: st.DataObject) -> None:
    """Whatever was seen may come again, at any later moment, any number of times."""
    job, events = history
    clean = reduce(fold, events, job)
    noisy = job
    for position, event in enumerate(events):
        noisy = fold(noisy, event)
        again = [e for e in events[: position + 1] if not isinstance(e, Snapshot)]
        for late in data.draw(st.lists(st.sampled_from(again), max_size=3)) if again else ():
            noisy = fold(noisy, late)
    assert noisy == clean


@given(some.histories(), some.events())
def test_nothing_happens_after_the_end(history: History, late: Event) -> None:
    """A late report must not reopen a closed job, whatever its number."""
    job = reduce(fold, history[1], history[0])
    done = fold(job, Ended(**place(job.version + 1), status=Status.FAILED, attempt=job.attempt))
    if not isinstance(late, Snapshot):
        assert fold(done, replace(late, seq=done.version + 1)) == done


@given(some.histories())
def test_a_reader_that_begins_with_a_snapshot_arrives_at_the_same_job(history: History) -> None:
    """Snapshot at any moment, then what follows: the same as all from the beginning."""
    job, events = history
    whole = reduce(fold, events, job)
    so_far = job
    for position, event in enumerate(events, 1):
        so_far = fold(so_far, event)
        snapshot = Snapshot(**place(so_far.version), job=so_far)
        late_comer = fold(Job(id=JOB_ID, task="?"), snapshot)
        assert reduce(fold, events[position:], late_comer) == whole


@given(some.histories())
def test_done_and_version_follow_the_history(history: History) -> None:
    """`done` is true exactly in a terminal status, `version` is the last number, `attempt` is never negative."""
    job, events = history
    for event in events:
        job = fold(job, event)
        assert job.done == Status(job.status).is_terminal
        assert job.version == event.seq
        assert job.attempt >= 0
        if job.done:
            assert (job.stalled, job.run_at) == (False, None)


@given(some.progresses)
def test_a_new_attempt_begins_at_nothing(progress: Progress) -> None:
    """Percent is monotonic within an attempt, not across attempts; the first start stays."""
    job = Job(
        id=JOB_ID, task="t", status=Status.RETRYING, attempt=1, version=7, progress=progress, started_at="x"
    )
    running = StatusChanged(**place(8), status=Status.RUNNING, attempt=2)
    assert fold(job, running).progress == NO_PROGRESS
    assert fold(job, running).started_at == "x"


def test_a_request_to_stop_keeps_the_progress() -> None:
    """The same attempt runs on until its worker has heard."""
    half = Progress(percent=50)
    job = Job(id=JOB_ID, task="t", status=Status.RUNNING, attempt=1, version=7, progress=half)
    asked = fold(job, StatusChanged(**place(8), status=Status.RUNNING, attempt=1, cancel_requested=True))
    assert (asked.progress, asked.cancel_requested, asked.done) == (half, True, False)


def test_progress_of_an_older_attempt_is_not_shown() -> None:
    """It can only come from a log that was not fenced; the bar must not jump back for it."""
    job = Job(id=JOB_ID, task="t", status=Status.RUNNING, attempt=2, version=7)
    late = fold(job, Progressed(**place(8), attempt=1, progress=Progress(percent=99)))
    assert (late.progress, late.version) == (NO_PROGRESS, 8)


def test_logs_and_silence_change_only_what_they_name() -> None:
    """A log line moves the version; `stalled` comes and goes."""
    job = Job(id=JOB_ID, task="t", status=Status.RUNNING, attempt=1, version=1)
    logged = fold(job, Logged(**place(2), attempt=1, level="info", message="x"))
    assert logged == replace(job, version=2)
    stalled = fold(logged, Stalled(**place(3), attempt=1))
    assert stalled == replace(job, version=3, stalled=True)
    assert fold(stalled, Stalled(**place(4), attempt=1, recovered=True)) == replace(job, version=4)


def test_an_end_in_a_status_of_a_newer_server_is_an_end() -> None:
    """`end` closes the stream whatever the outcome is called."""
    job = fold(Job(id=JOB_ID, task="t"), Ended(**place(1), status="superseded"))
    assert (job.done, job.status, job.finished_at) == (True, "superseded", AT)


@given(some.histories(), st.integers(1, 9), st.data())
def test_where_a_job_stands_counts_while_it_waits(history: History, number: int, data: st.DataObject) -> None:
    """It moves no version, is forgotten by the next status, and ignored when it comes late."""
    job, events = history
    told = StillWaiting(
        job_id=JOB_ID,
        at=AT,
        queue_position=number,
        waiting=Waiting(reason="workers_busy", message="Busy."),
    )
    for event in events:
        waits = fold(job, told)
        assert waits.version == job.version
        assert (waits.queue_position == number) == (job.status in WAITING)
        after = fold(waits, event)
        if isinstance(event, StatusChanged | Ended) and after != waits:
            assert (after.queue_position, after.waiting) == (None, None)
        job = fold(job, event)
    assert fold(job, told) == job or job.status in WAITING
