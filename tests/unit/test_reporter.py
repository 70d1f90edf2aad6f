"""What a report may hold, and what becomes of it."""

from __future__ import annotations

import math
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from milepost.errors import BadReport
from milepost.reporting import Reporter, Stopped
from milepost.reporting.reporter import MESSAGE_CHARACTERS, finite


class Sink:
    """Notes what it is told."""

    def __init__(self) -> None:
        self.told: list[Any] = []

    def changed(self) -> None:
        self.told.append("changed")

    def milestone(self) -> None:
        self.told.append("milestone")

    def log(self, level: str, message: str, source: str | None) -> None:
        self.told.append((level, message))

    def output(self, data: Any) -> None:
        self.told.append(data)

    def checkpoint(self, value: str) -> None:
        self.told.append(("checkpoint", value))


@pytest.fixture
def sink() -> Sink:
    return Sink()


@pytest.fixture
def reporter(sink: Sink) -> Reporter:
    return Reporter(sink)


class Index:
    """What numpy's integers look like."""

    def __index__(self) -> int:
        return 7


@pytest.mark.parametrize(
    ("given", "taken"),
    [(3, 3), (0.5, 0.5), (True, 1), (Decimal("1.5"), 1.5), (Fraction(1, 4), 0.25), (Index(), 7)],
)
def test_every_kind_of_number_is_taken_as_one_that_json_has(
    reporter: Reporter, given: Any, taken: float
) -> None:
    """A Decimal or an integer of numpy's must not fail later, in the thread that sends it."""
    reporter.update(reporter.meter.root, given, given, None, None)
    assert reporter.meter.read(0).current == taken
    assert type(reporter.meter.root.total) in {int, float}


@pytest.mark.parametrize(
    "wrong", [float("nan"), float("inf"), -float("inf"), Decimal("NaN"), 10**400, "3", b"3", [], 1j, object()]
)
@pytest.mark.parametrize("place", ["current", "total", "fraction", "advance", "weight"])
def test_what_is_no_finite_number_is_refused_with_a_sentence(
    reporter: Reporter, sink: Sink, wrong: Any, place: str
) -> None:
    """The task's author learns of it in the line that is wrong, and nothing of it is reported."""
    root = reporter.meter.root
    calls = {
        "current": lambda: reporter.update(root, wrong, None, None, None),
        "total": lambda: reporter.update(root, None, wrong, None, None),
        "fraction": lambda: reporter.update(root, None, None, None, None, wrong),
        "advance": lambda: reporter.advance(root, wrong),
        "weight": lambda: reporter.plan(root, {"step": wrong}),
    }
    with pytest.raises(BadReport, match="not a finite number; report a count such as 3"):
        calls[place]()
    assert sink.told == []
    assert reporter.meter.read(0).current is None


@given(st.one_of(st.integers(), st.floats()))
def test_a_number_is_either_refused_or_finite(value: float) -> None:
    """There is nothing in between."""
    try:
        assert finite(value) == value
        assert abs(float(value)) < float("inf")
    except BadReport:
        assert math.isnan(value) or abs(value) > 1e308


def test_counting_up_to_infinity_is_refused(reporter: Reporter) -> None:
    """The sum of two finite numbers may be none."""
    reporter.advance(reporter.meter.root, 1.7e308)
    with pytest.raises(BadReport):
        reporter.advance(reporter.meter.root, 1.7e308)


def test_negative_weights_are_refused(reporter: Reporter) -> None:
    """They would make the bar run backwards."""
    with pytest.raises(BadReport, match="cannot be negative"), reporter.step(reporter.meter.root, "a", -1):
        pass
    assert reporter.meter.root.children == []


def test_a_message_of_a_million_characters_is_the_longest(reporter: Reporter) -> None:
    """A longer one could not be sent as an event, and the task is told in the line that is wrong."""
    reporter.update(reporter.meter.root, None, None, "x" * MESSAGE_CHARACTERS, None)
    with pytest.raises(BadReport, match="1,048,576 are the most"):
        reporter.update(reporter.meter.root, None, None, "x" * (MESSAGE_CHARACTERS + 1), None)


def test_messages_and_units_that_are_no_text_become_text(reporter: Reporter) -> None:
    """An exception or a path is a fine message."""
    reporter.update(reporter.meter.root, None, None, ValueError("why"), 5)
    shown = reporter.meter.read(0)
    assert (shown.message, shown.unit) == ("why", "5")


def test_the_sink_is_told_once_until_it_has_sent(reporter: Reporter, sink: Sink) -> None:
    """A million reports cost one notification."""
    for n in range(1000):
        reporter.update(reporter.meter.root, n, None, None, None)
    assert sink.told == ["changed"]
    reporter.dirty = False
    reporter.update(reporter.meter.root, 1000, None, None, None)
    assert sink.told == ["changed", "changed"]


def test_steps_of_the_job_are_milestones_and_deeper_ones_are_not(reporter: Reporter, sink: Sink) -> None:
    """Their beginning and end must be seen; those of a step inside a step may be skipped over."""
    with reporter.step(reporter.meter.root, "outer", 1) as outer:
        assert sink.told == ["milestone"]
        with reporter.step(outer, "inner", 1):
            pass
        assert sink.told == ["milestone", "changed"]
    assert sink.told == ["milestone", "changed", "milestone"]


def test_steps_inside_a_counted_loop_are_no_milestones(reporter: Reporter, sink: Sink) -> None:
    """Ten thousand items must not become twenty thousand events that cannot be dropped."""
    root = reporter.meter.root
    reporter.update(root, 0, 10, None, None)
    for n in range(10):
        with reporter.step(root, f"item {n}", 1):
            pass
    assert "milestone" not in sink.told


def test_a_step_that_raises_has_failed_and_one_that_returns_is_done(reporter: Reporter) -> None:
    """Whatever it raises, cancellation included."""
    root = reporter.meter.root
    with pytest.raises(KeyboardInterrupt), reporter.step(root, "bad", 1):
        raise KeyboardInterrupt
    with reporter.step(root, "good", 1):
        pass
    assert [(one.key, one.status) for one in reporter.meter.read(0).steps] == [
        ("bad", "failed"),
        ("good", "succeeded"),
    ]


def test_entering_a_step_forgets_the_message_of_the_one_before(reporter: Reporter) -> None:
    """'downloading' under the heading 'import' would be a lie."""
    reporter.update(reporter.meter.root, None, None, "downloading", None)
    with reporter.step(reporter.meter.root, "import", 1):
        assert reporter.meter.read(0).message is None


@pytest.mark.parametrize("report", ["update", "step", "log", "output"])
def test_every_report_after_a_stop_raises_stopped(reporter: Reporter, sink: Sink, report: str) -> None:
    """That is how a thread learns that it is to end; `except Exception` does not swallow it."""
    root = reporter.meter.root
    reporter.stop = "cancelled"
    calls = {
        "update": lambda: reporter.update(root, 1, None, None, None),
        "step": lambda: reporter.step(root, "a", 1).__enter__(),
        "log": lambda: reporter.log("info", "hello"),
        "output": lambda: reporter.output(1),
    }
    with pytest.raises(Stopped, match="cancelled"):
        calls[report]()
    assert not issubclass(Stopped, Exception)
    assert sink.told == []


def test_an_unknown_level_is_refused_and_a_known_one_passed_on(reporter: Reporter, sink: Sink) -> None:
    """Readers know five levels."""
    reporter.log("warning", 42)
    with pytest.raises(BadReport, match="debug, info, warning, error, critical"):
        reporter.log("fatal", "no")
    assert sink.told == [("warning", "42")]
