"""How the command line reads params and tells a job: pure parts."""

from __future__ import annotations

import doctest
import importlib
import io
import re
from typing import Any

import click
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from milepost.cli import wording
from milepost.cli.bar import render
from milepost.cli.params import parse_param, read_params
from milepost.cli.views import LineView, describe
from milepost.client import Connection, Unreachable
from milepost.codec import dumps
from milepost.events import Gap, Logged, Output, Stalled, StatusChanged, StillWaiting
from milepost.fold import fold
from milepost.job import JobError, Progress, Status, StepRef, Waiting
from tests.support import story


@pytest.mark.parametrize("name", ["milepost.cli.params", "milepost.cli.wording"])
def test_examples_in_docstrings_are_true(name: str) -> None:
    """They are run."""
    found = doctest.testmod(importlib.import_module(name))
    assert found.attempted > 0
    assert found.failed == 0


NOBODY = Waiting(reason="no_worker_for_queue", message="No worker.")
BUSY = Waiting(reason="workers_busy", message="Busy.")


# --- params


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.text(), st.lists, max_leaves=5))
def test_whatever_is_json_arrives_as_it_was(value: Any) -> None:
    """`--param name=JSON` is that value."""
    assert parse_param(f"n={dumps(value)}") == ("n", value)


@pytest.mark.parametrize(
    "text", ["data/x.csv", "", "01234", "NaN", "Infinity", "{", "a=b", "'5'", "[" * 100_000]
)
def test_whatever_is_not_json_arrives_as_text(text: str) -> None:
    """Also what Python's reader would take for JSON and is none."""
    assert parse_param(f"n={text}") == ("n", text)


@pytest.mark.parametrize("pair", ["", "steps", "=5"])
def test_a_param_without_a_name_is_wrong_usage(pair: str) -> None:
    """And said to be."""
    with pytest.raises(click.BadParameter, match="name=value"):
        parse_param(pair)


def test_a_param_given_twice_is_wrong_usage() -> None:
    """Which one was meant is not guessed."""
    with pytest.raises(click.BadParameter, match="twice"):
        read_params(["a=1", "a=2"], None, str)


def test_single_params_win_over_the_document() -> None:
    """The document is the default, from the argument or standard input."""
    assert read_params(["a=1"], '{"a": 0, "b": 2}', str) == {"a": 1, "b": 2}
    assert read_params([], "-", lambda: '{"b": 2}') == {"b": 2}


@pytest.mark.parametrize("document", ["", "{", "[1]", "7", '{"a": NaN}'])
def test_a_document_that_is_no_object_is_wrong_usage(document: str) -> None:
    """In a sentence."""
    with pytest.raises(click.BadParameter, match="JSON"):
        read_params([], document, str)


# --- words

FAILED = JobError(code="exception", message="no\nsuch \x1b[31mfile", type="OSError")


@given(st.text())
def test_no_control_character_of_a_job_reaches_the_terminal(text: str) -> None:
    """A job's text cannot move the cursor, retitle the window or hide what is there."""
    assert not re.search(r"[\x00-\x1f\x7f-\x9f]", wording.clean(text))


def test_a_headline_says_what_belongs_to_the_status() -> None:
    """Attempt, step, the wish to stop."""
    progress = Progress(step=StepRef(key="b", name="Import", index=2, count=4))
    job = story.job(
        status=Status.RUNNING, attempt=2, max_attempts=3, cancel_requested=True, progress=progress
    )
    assert wording.headline(job) == "running · attempt 2/3 · step 2/4 Import · asked to stop"


def test_an_ending_says_why() -> None:
    """In one line, whatever the message holds."""
    job = story.job(status=Status.FAILED, done=True, error=FAILED)
    assert wording.ending(job) == r"failed: OSError: no\x0asuch \x1b[31mfile (exception)"
    assert wording.ending(story.job(status=Status.SUCCEEDED, done=True)) == "succeeded"


def test_99_and_a_half_percent_is_not_100() -> None:
    """100 is for what has succeeded."""
    assert wording.percent(Progress(percent=99.99)) == "99%"


# --- plain lines


class Lines:
    """A LineView and what it wrote; the test holds the clock."""

    def __init__(self) -> None:
        self.out, self.trouble, self.now = list[str](), list[str](), 1000.0
        self.view = LineView(self.out.append, self.trouble.append, lambda: self.now)
        self.job = story.job()

    def feed(self, *events) -> None:
        for event in events:
            self.job = fold(self.job, event)
            self.view.event(event, self.job)


def test_progress_is_a_line_a_second_and_changes_of_status_are_not_kept_back() -> None:
    """A log file of a long job stays readable, and has its end."""
    lines = Lines()
    lines.feed(story.snapshot(), story.started(), story.progressed(3, 3), story.progressed(4, 4))
    lines.now += 1
    lines.feed(story.progressed(5, 5), story.progressed(6, 6), story.ended(7))
    assert lines.out == [
        "08:00:00  queued",
        "08:00:00  running",
        "08:00:00  running  50%  5/10 rows",
        "08:00:00  succeeded",
    ]


def test_a_change_of_step_is_not_kept_back_either() -> None:
    """It is news."""
    lines = Lines()
    first, second = (StepRef(key=key, name=key, index=i) for i, key in enumerate("ab", 1))
    lines.feed(story.snapshot(), story.started(), story.progressed(3, 3, step=first))
    lines.feed(story.progressed(4, 3, step=second), story.progressed(5, 4, step=second))
    assert [line.split("  ")[1] for line in lines.out] == [
        "queued",
        "running",
        "running · step 1 a",
        "running · step 2 b",
    ]


def test_steps_forward_in_the_line_are_a_line_a_second_and_a_new_reason_is_not_kept_back() -> None:
    """What is missing is news; that one more has been served soon is not."""
    lines = Lines()
    lines.feed(story.snapshot(queue_position=9, waiting=BUSY))
    for position, waiting in ((8, BUSY), (7, BUSY), (7, NOBODY), (6, NOBODY)):
        lines.feed(StillWaiting(job_id="x", at=story.AT, queue_position=position, waiting=waiting))
    lines.now += 1
    lines.feed(StillWaiting(job_id="x", at=story.AT, queue_position=5, waiting=NOBODY), story.started(2))
    assert [line.split("  ", 1)[1] for line in lines.out] == [
        "queued · 9th in line  Busy.",
        "queued · 7th in line · no worker  No worker.",
        "queued · 5th in line · no worker  No worker.",
        "running",
    ]


def test_a_job_that_had_ended_is_told_once() -> None:
    """Though a fresh connect brings snapshot and end."""
    lines = Lines()
    lines.feed(story.snapshot(7, status=Status.CANCELLED, done=True), story.ended(8, Status.CANCELLED))
    assert lines.out == ["08:00:00  cancelled"]


def test_connection_trouble_is_told_apart_from_the_job() -> None:
    """And that it is over."""
    lines = Lines()
    for connection in (Connection(), Connection(Unreachable("Gone."), 2.0), Connection(), Connection()):
        lines.view.connection(connection)
    assert lines.out == []
    assert lines.trouble == ["Gone. Trying again; the job goes on.", "Connected again."]


@pytest.mark.parametrize(
    ("event", "line"),
    [
        (Logged(**story.place(2), attempt=1, level="warning", message="a\rb"), r"warning: a\x0db"),
        (Output(**story.place(2), attempt=1, index=0, data={"a": "é\x9b"}), r'output 0: {"a":"\u00e9\u009b"}'),
        (Stalled(**story.place(2), attempt=1, heartbeat_at="T"), "the worker has been silent since T; waiting for it"),
        (Stalled(**story.place(2), attempt=1, recovered=True), "the worker is heard again"),
        (
            Gap(job_id="x", requested="e-1", reason="trimmed"),
            "some history is no longer kept; going on from the present state",
        ),
        (StatusChanged(**story.place(2), status="pondering"), "pondering"),
        (
            StillWaiting(job_id="x", at=story.AT, queue_position=2, waiting=NOBODY),
            "queued · 2nd in line · no worker  No worker.",
        ),
    ],
)  # fmt: skip
def test_every_kind_of_event_has_its_line(event, line: str) -> None:
    """One line each, and a status of a newer server is shown as it is."""
    job = story.job() if isinstance(event, Gap) else fold(story.job(), event)
    assert describe(event, job) == line


# --- the bar


def drawn(job, trouble: str = "", width: int = 120) -> str:
    console = Console(
        file=io.StringIO(), width=width, color_system=None, force_terminal=False, legacy_windows=False
    )
    console.print(render(job, trouble))
    out = console.file
    assert isinstance(out, io.StringIO)
    return out.getvalue()


def running(**progress: Any):
    return story.job(status=Status.RUNNING, attempt=1, progress=Progress(**progress))


def test_the_bar_says_what_a_job_waits_for() -> None:
    """In a line of its own, whole on a narrow terminal too."""
    text = drawn(story.job(queue_position=3, waiting=NOBODY), width=40)
    assert "queued · 3rd in line · no worker" in text
    assert "No worker." in text


def test_the_bar_shows_percent_amount_pace_and_message() -> None:
    """All that is known."""
    text = drawn(
        running(
            percent=34.0, current=340, total=1000, unit="rows", rate=9.3, eta_seconds=71, message="Importing"
        )
    )
    assert re.search(r"running +━+.* 34% 340/1,000 rows 9\.3/s, 1:11 left", text)
    assert "\nImporting" in text


def test_without_a_percent_there_is_no_made_up_one() -> None:
    """An indeterminate bar moves; a waiting job has none."""
    assert "%" not in drawn(running(current=5, unit="rows"))
    assert "━" not in drawn(story.job())


def test_a_failed_job_keeps_its_bar_where_it_stood() -> None:
    """Neither 0 nor 100."""
    text = drawn(story.job(status=Status.FAILED, done=True, error=FAILED, progress=Progress(percent=34.0)))
    assert "34%" in text
    assert "failed: OSError" in text


def test_a_silent_worker_and_a_lost_connection_are_two_lines() -> None:
    """One is about the job, one about the way to it."""
    job = story.job(status=Status.RUNNING, stalled=True, heartbeat_at="2030-01-31T08:00:00Z")
    text = drawn(job, "Gone. Trying again in 2 s.")
    assert "stalled: the worker has been silent since 2030-01-31T08:00:00Z" in text
    assert "connection: Gone." in text


def test_a_narrow_terminal_and_markup_in_a_message_are_no_trouble() -> None:
    """`[bold]` is text here, and a long line is cut, not wrapped into a second bar."""
    text = drawn(running(percent=1.0, message="[bold]x[/nope] " + "y" * 300), width=40)
    assert "[bold]x[/nope]" in text
    assert max(len(line) for line in text.splitlines()) <= 40


def test_before_the_first_word_there_is_a_line_too() -> None:
    """An empty terminal looks hung."""
    assert "waiting" in drawn(None)
