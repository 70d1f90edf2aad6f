"""From reports to one honest progress."""

from __future__ import annotations

import math
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from milepost.job import Progress, StepRef
from milepost.reporting import Meter, Reporter, Step
from milepost.reporting.meter import MOST_STEPS

counts = st.one_of(st.none(), st.integers(-10, 200), st.floats(-1e300, 1e300))


class Nowhere:
    """A sink for tests that look at the meter alone."""

    def changed(self) -> None: ...
    def milestone(self) -> None: ...
    def log(self, level: str, message: str, source: str | None) -> None: ...
    def output(self, data: object) -> None: ...
    def checkpoint(self, value: str) -> None: ...


def begun(meter: Meter, *names: str) -> Step:
    """Begin steps, each below the one before."""
    step = meter.root
    for name in names:
        step = step.begin(name, 1.0)
    meter.focus = step
    return step


@given(st.lists(st.tuples(counts, counts, counts), max_size=40), st.booleans())
def test_percent_never_falls_and_is_below_100_until_success(
    reports: list[tuple[float | None, float | None, float | None]], succeeded: bool
) -> None:
    """Totals may change, counts may fall: what has been shown stays shown, and 100 means success."""
    meter, last, now = Meter(), 0.0, 0.0
    for current, total, share in reports:
        step = meter.root
        step.current, step.total = current, total
        step.share = step.share if share is None else share
        now += 0.1
        percent = meter.read(now).percent
        assert percent is None or last <= percent < 100
        last = percent or last
    end = meter.finish(now, succeeded=succeeded)
    assert end.percent == 100 if succeeded else end.percent in {last, None}


@given(
    st.dictionaries(st.sampled_from("abcd"), st.floats(0, 1e6), max_size=4),
    st.lists(st.tuples(st.sampled_from("abcdef"), st.floats(0, 1), st.booleans()), max_size=20),
)
def test_percent_is_monotonic_over_any_walk_through_steps(
    plan: dict[str, float], walk: list[tuple[str, float, bool]]
) -> None:
    """In any order, planned or not, failed or done: the bar does not go back, and numbers stay numbers."""
    reporter = Reporter(Nowhere(), plan)
    last = 0.0
    for now, (name, share, fails) in enumerate(walk):
        step = reporter.meter.root.begin(name, 1.0)
        reporter.update(step, None, None, None, None, share)
        step.failed, step.done = fails, not fails
        reporter.meter.root.end(step)
        shown = reporter.meter.read(float(now))
        assert shown.percent is None or last <= shown.percent < 100
        assert len(shown.steps) <= MOST_STEPS
        assert len({one.key for one in shown.steps}) == len(shown.steps)
        last = shown.percent or last


@given(st.integers(2, 200), st.floats(0.01, 10))
def test_eta_of_a_steady_task_is_right(total: int, interval: float) -> None:
    """Half of it took so long, the other half takes as long."""
    meter = Meter()
    meter.root.total = total
    for done in range(total // 2 + 1):
        meter.root.current = done
        meter.read(done * interval)
    shown = meter.read(total // 2 * interval)
    left = (total - total // 2) * interval
    assert shown.eta_seconds == pytest.approx(left, rel=0.01)
    assert shown.rate == pytest.approx(1 / interval, rel=0.01)


def test_nothing_is_known_of_a_task_that_says_nothing() -> None:
    """No total, no percent: the bar is indeterminate."""
    assert Meter().read(0.0) == Progress()


def test_zero_of_zero_is_not_an_error() -> None:
    """A loop over nothing has a total of 0 and nothing to divide by it."""
    meter = Meter()
    meter.root.current, meter.root.total = 0, 0
    assert meter.read(0).percent == 0
    assert meter.finish(1, succeeded=True).percent == 100


def test_percent_is_frozen_where_a_failed_task_stood() -> None:
    """The bar of a failed job shows how far it came."""
    meter = Meter()
    meter.root.current, meter.root.total = 42, 100
    end = meter.finish(0, succeeded=False)
    assert end.percent == 42
    assert end.current == 42
    assert end.eta_seconds is end.rate is None


def test_a_fraction_moves_the_bar_and_leaves_the_count_alone() -> None:
    """Rows are counted while the percent comes from the bytes."""
    meter = Meter()
    meter.root.current, meter.root.unit, meter.root.share = 1234, "rows", 0.25
    shown = meter.read(0)
    assert (shown.current, shown.total, shown.unit, shown.percent) == (1234, None, "rows", 25)


def test_planned_steps_share_the_bar_by_weight() -> None:
    """A step of weight 3 out of 4 moves the bar three quarters."""
    meter = Meter({"download": 1.0, "import": 3.0})
    assert meter.read(0).percent == 0
    download = begun(meter, "download")
    download.done = True
    meter.root.end(download)
    assert meter.read(1).percent == 25
    importing = begun(meter, "import")
    importing.current, importing.total = 1, 3
    shown = meter.read(2)
    assert shown.percent == 50
    assert shown.step == StepRef(key="import", name="import", index=2, count=2)
    assert [(one.key, one.status, one.percent, one.weight) for one in shown.steps] == [
        ("download", "succeeded", 100, 1),
        ("import", "running", 33.3, 3),
    ]


def test_a_branch_that_was_not_taken_is_skipped_and_weighs_nothing() -> None:
    """Of two planned branches one runs: the bar reaches its end all the same."""
    meter = Meter({"fast": 1.0, "slow": 1.0, "store": 1.0})
    slow = begun(meter, "slow")
    slow.current, slow.total = 1, 2
    shown = meter.read(0)
    assert shown.percent == 25
    assert [(one.key, one.status, one.percent) for one in shown.steps] == [
        ("fast", "skipped", None),
        ("slow", "running", 50),
        ("store", "pending", 0),
    ]


def test_unplanned_steps_tell_no_overall_percent() -> None:
    """Nobody knows how many follow."""
    meter = Meter()
    step = begun(meter, "one")
    step.current, step.total = 1, 2
    shown = meter.read(0)
    assert shown.percent is None
    assert shown.step == StepRef(key="one", name="one", index=1, count=None)
    assert (shown.current, shown.total) == (1, 2)


def test_a_step_beyond_the_plan_joins_it() -> None:
    """A step that nobody announced is counted and has a weight of its own."""
    meter = Meter({"a": 1.0})
    first = begun(meter, "a")
    first.done = True
    meter.root.end(first)
    begun(meter, "extra")
    shown = meter.read(0)
    assert shown.percent == 50
    assert shown.step == StepRef(key="extra", name="extra", index=2, count=2)


def test_nested_steps_report_as_the_step_at_the_top() -> None:
    """The step shown is one of the job's, the counts are those of the innermost."""
    meter = Meter({"load": 1.0})
    inner = begun(meter, "load", "table", "rows")
    inner.current, inner.total = 3, 4
    shown = meter.read(0)
    assert shown.step is not None
    assert shown.step.key == "load"
    assert (shown.current, shown.total) == (3, 4)


def test_a_nested_plan_moves_the_steps_bar() -> None:
    """A step with a plan of its own knows its fraction, and so does the job."""
    meter = Meter({"load": 1.0, "check": 1.0})
    load = begun(meter, "load")
    load.plan = {"one": 1.0, "two": 1.0}
    load.begin("one", 1.0).done = True
    assert meter.read(0).percent == 25


def test_steps_inside_a_counted_loop_move_the_bar_between_two_counts() -> None:
    """With 1 of 4 items done and half of the second, three eighths are done, and the loop's count is shown."""
    meter = Meter()
    meter.root.current, meter.root.total, meter.root.unit = 1, 4, "files"
    inner = begun(meter, "item")
    assert (meter.read(0).current, meter.read(0).unit) == (1, "files")
    inner.current, inner.total = 1, 2
    shown = meter.read(0)
    assert shown.percent == 37.5
    assert (shown.current, shown.total, shown.unit) == (1, 2, None)


def test_concurrent_steps_inside_a_counted_loop_all_count() -> None:
    """Four items at once, each half done, are two."""
    meter = Meter()
    meter.root.current, meter.root.total = 0, 4
    for n in range(4):
        meter.root.begin(f"item {n}", 1.0).share = 0.5
    assert meter.read(0).percent == 50


def test_a_step_of_a_counted_loop_may_be_the_last_thing_reported() -> None:
    """The loop forgets its steps; reading and ending between two of them is no error."""
    meter = Meter()
    meter.root.current, meter.root.total = 0, 3
    step = begun(meter, "first")
    step.done = True
    meter.root.end(step)
    shown = meter.finish(0, succeeded=False)
    assert shown.step == StepRef(key="first", name="first", index=1, count=None)
    assert shown.steps == ()


def test_failed_steps_of_a_counted_loop_do_not_move_the_bar() -> None:
    """An item that failed half-way and was caught is not half an item for ever."""
    meter = Meter()
    meter.root.current, meter.root.total = 0, 4
    step = begun(meter, "item")
    step.share, step.failed = 0.5, True
    meter.root.end(step)
    meter.root.current = 1
    assert meter.read(0).percent == 25


def test_a_million_steps_cost_no_more_memory_than_fifty() -> None:
    """What is kept is bounded, the step under way is always shown, and its number goes on."""
    meter = Meter()
    for n in range(10_000):
        step = begun(meter, f"item {n}")
        step.done = True
        meter.root.end(step)
    begun(meter, "last")
    shown = meter.read(0)
    assert len(meter.root.children) <= 2 * MOST_STEPS + 1
    assert len(meter.root._names) <= 4 * MOST_STEPS
    assert len(shown.steps) == MOST_STEPS
    assert (shown.steps[-1].key, shown.steps[-1].status) == ("last", "running")
    assert shown.step is not None
    assert shown.step.index == 10_001


def test_steps_of_the_same_name_have_keys_of_their_own() -> None:
    """Also when a step has the very name that would be made up."""
    root = Step("", "")
    assert [root.begin(name, 1.0).key for name in ("a", "a", "a-2", "a", "a-2")] == [
        "a",
        "a-2",
        "a-2-2",
        "a-3",
        "a-2-3",
    ]


@given(st.floats(0, 1), st.floats(0, 1e9))
def test_what_is_sent_is_always_a_finite_number(share: float, now: float) -> None:
    """Percent, rate and ETA are numbers that JSON has, or null."""
    meter = Meter()
    meter.root.share = share
    meter.read(0)
    meter.root.share = 1.0
    shown = meter.read(now)
    for value in (shown.percent, shown.rate, shown.eta_seconds):
        assert value is None or (math.isfinite(value) and value >= 0)


@settings(max_examples=30)
@given(st.integers(0, 2**32), st.integers(200, 1000), st.floats(0.02, 0.5))
def test_the_end_of_a_task_with_jitter_is_foretold(seed: int, total: int, interval: float) -> None:
    """Read ten times a second, as a worker reads: half-way the rest is known to within a half, and shrinks to it."""
    chance, meter, now, read = random.Random(seed), Meter(), 0.0, 0.0
    meter.root.total = total
    told: list[tuple[float, float | None]] = []
    for done in range(1, total + 1):
        now += interval * chance.uniform(0.5, 1.5)
        meter.root.current = done
        if now >= read + 0.1:
            read = now
            told.append((now, meter.read(now).eta_seconds))
    for at, eta in told[len(told) // 2 : -1]:
        assert eta is not None
        assert abs(eta - (now - at)) <= 0.5 * (now - at) + 2 * interval


@settings(max_examples=30)
@given(st.integers(2, 50), st.floats(0.05, 5))
def test_the_end_of_a_task_that_has_stopped_moving_is_not_foretold_for_ever(
    done: int, interval: float
) -> None:
    """It recedes while nothing happens, and then nobody knows."""
    meter, now = Meter(), 0.0
    meter.root.total = 100
    for n in range(done):
        now += interval
        meter.root.current = n
        meter.read(now)
    etas = []
    for _ in range(1200):
        now += 0.1
        etas.append(meter.read(now).eta_seconds)
    known = [eta for eta in etas if eta is not None]
    assert known == sorted(known)
    assert not known or known[-1] > known[0]
    assert etas[-1] is None
    assert meter.read(now).rate is None
