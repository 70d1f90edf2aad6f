"""What a job is: which status may follow which, and its shape on the wire."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import given

from milepost.codec import dumps
from milepost.job import NEXT, NO_PROGRESS, TERMINAL, Job, JobError, Progress, Status, StepRef, parse_status
from tests.support import strategies as some


def test_every_status_says_what_may_follow_it() -> None:
    """No status is forgotten, and none leads to itself."""
    assert set(NEXT) == set(Status)
    assert all(status not in NEXT[status] for status in Status)


def test_the_terminal_statuses_are_the_last_four() -> None:
    """`done` means one of these, on the wire and in the docs (DESIGN §2)."""
    assert {"succeeded", "failed", "cancelled", "expired"} == TERMINAL


@pytest.mark.parametrize("status", sorted(set(Status) - TERMINAL))
def test_every_waiting_or_running_job_can_reach_an_end(status: Status) -> None:
    """Every accepted job ends, so from everywhere a terminal status is one or two steps away."""
    assert any(after in TERMINAL or NEXT[after] & TERMINAL for after in NEXT[status])


def test_only_a_running_job_succeeds() -> None:
    """Success is an attempt's to report."""
    assert [status for status in Status if Status.SUCCEEDED in NEXT[status]] == [Status.RUNNING]


@given(some.jobs())
def test_a_job_survives_the_wire(job: Job) -> None:
    """What a client reads is what the server had, whatever the text in it."""
    assert Job.from_wire(json.loads(dumps(job.to_wire()))) == job


@given(some.jobs())
def test_a_job_with_more_fields_than_known_is_read(job: Job) -> None:
    """A newer server may add fields anywhere; an older client ignores them."""
    wire = job.to_wire() | {"mood": "good"}
    wire["progress"] |= {
        "mood": "good",
        "step": wire["progress"]["step"] and wire["progress"]["step"] | {"x": 1},
    }
    wire["progress"]["steps"] = [step | {"x": 1} for step in wire["progress"]["steps"]]
    wire["error"] = wire["error"] and wire["error"] | {"x": 1}
    assert Job.from_wire(wire) == job


def test_a_job_with_fewer_fields_than_known_is_read() -> None:
    """An older server leaves fields out; they have their defaults."""
    assert Job.from_wire({"id": "a", "task": "t"}) == Job(id="a", task="t")


def test_a_status_of_a_newer_server_stays_text() -> None:
    """A client shows it and asks `done` whether to go on."""
    job = Job.from_wire({"id": "a", "task": "t", "status": "paused", "done": False})
    assert job.status == "paused"
    assert not isinstance(job.status, Status)
    assert parse_status("running") is Status.RUNNING


def test_a_traceback_is_for_operators() -> None:
    """Clients never get one."""
    error = JobError(code="exception", message="no", traceback="Traceback …")
    job = Job(id="a", task="t", error=error)
    assert "Traceback" not in dumps(job.to_wire())
    assert job.to_wire(operator=True)["error"]["traceback"] == "Traceback …"
    assert "traceback" not in replace(error, traceback=None).to_wire(operator=True)


def test_an_unknown_progress_is_indeterminate() -> None:
    """Nothing known is null, not zero: the bar has no value."""
    assert NO_PROGRESS.percent is None
    assert Progress.from_wire({}) == NO_PROGRESS
    wire = Progress(step=StepRef(key="a", name="A", index=1)).to_wire()
    assert wire["step"] == {"key": "a", "name": "A", "index": 1, "count": None}
