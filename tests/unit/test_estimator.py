"""The rate of something that moves."""

from __future__ import annotations

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from milepost.reporting import Estimator

numbers = st.floats(allow_nan=False, allow_infinity=False)
waits = st.floats(min_value=0, max_value=1e6)


@given(st.lists(st.tuples(waits, numbers), max_size=50), waits)
def test_rate_is_finite_and_never_negative(moves: list[tuple[float, float]], later: float) -> None:
    """Whatever is observed, the rate is None or a number one can divide by and show."""
    estimator, now = Estimator(), 0.0
    for wait, value in moves:
        now += wait
        estimator.observe(now, value)
        rate = estimator.rate(now + later)
        assert rate is None or (math.isfinite(rate) and rate >= 0)


@given(
    st.floats(min_value=0.001, max_value=1e6),
    st.lists(st.floats(min_value=0.01, max_value=60), min_size=2, max_size=50),
)
def test_a_steady_pace_is_known_exactly(pace: float, intervals: list[float]) -> None:
    """However unevenly it is observed, a steady pace is the pace from the second observation on."""
    estimator, now = Estimator(), 0.0
    estimator.observe(now, 0.0)
    for interval in intervals:
        now += interval
        estimator.observe(now, now * pace)
        assert estimator.rate(now) == pytest.approx(pace, rel=1e-6)


@given(st.floats(min_value=0.1, max_value=100), st.floats(min_value=0.1, max_value=100))
def test_a_change_of_pace_is_followed(before: float, after: float) -> None:
    """Ten time constants after a change of pace, the new pace is what is told."""
    estimator, value = Estimator(tau_seconds=10), 0.0
    for second in range(300):
        value += before if second < 100 else after
        estimator.observe(second, value)
    assert estimator.rate(299) == pytest.approx(after, rel=0.01)


def test_nothing_is_known_before_anything_has_moved() -> None:
    """One observation is a place, not a pace; nor are two of the same place."""
    estimator = Estimator()
    assert estimator.rate(0) is None
    estimator.observe(0, 5)
    assert estimator.rate(1) is None
    estimator.observe(2, 5)
    assert estimator.rate(3) is None


def test_waiting_longer_than_ever_makes_the_rate_sink_and_then_unknown() -> None:
    """A task that has stopped moving does not keep promising the end it promised before."""
    estimator = Estimator(tau_seconds=10)
    for second in range(20):
        estimator.observe(second, second * 10)
    known = [estimator.rate(19 + idle) for idle in (0, 1, 5, 20, 59)]
    assert known[0] == known[1] == pytest.approx(10)
    rates = [rate for rate in known[1:] if rate is not None]
    assert len(rates) == 4
    assert rates == sorted(set(rates), reverse=True)
    assert estimator.rate(19 + 61) is None


def test_a_pause_no_longer_than_earlier_ones_costs_nothing() -> None:
    """A task that reports once a minute is not taken for stalled between two reports."""
    estimator = Estimator(tau_seconds=10)
    for minute in range(4):
        estimator.observe(minute * 60, minute)
    assert estimator.rate(180 + 59) == pytest.approx(1 / 60)


def test_a_fall_starts_all_over() -> None:
    """Another count has begun: the pace of the old one says nothing about it."""
    estimator = Estimator()
    estimator.observe(0, 0)
    estimator.observe(1, 100)
    estimator.observe(2, 0)
    assert estimator.rate(2) is None
    estimator.observe(3, 7)
    assert estimator.rate(3) == pytest.approx(7)


@given(
    st.integers(0, 2**32),
    st.floats(min_value=0.01, max_value=0.5),
    st.floats(min_value=0.01, max_value=1e4),
)
def test_a_steady_pace_is_found_through_jitter(seed: int, interval: float, amount: float) -> None:
    """Each part takes from half to one and a half of its time: after five time constants the rate is near the pace."""
    chance, estimator, now, value = random.Random(seed), Estimator(tau_seconds=10), 0.0, 0.0
    while now < 50:
        now += interval * chance.uniform(0.5, 1.5)
        value += amount
        estimator.observe(now, value)
    assert estimator.rate(now) == pytest.approx(amount / interval, rel=0.35)


@given(
    st.integers(1, 20),
    st.floats(min_value=0.02, max_value=0.2),
    st.floats(min_value=0, max_value=5),
    st.floats(min_value=0, max_value=1),
)
def test_a_pace_in_bursts_is_found_at_every_moment(
    many: int, apart: float, pause: float, moment: float
) -> None:
    """Several at once, then nothing for a while, as a task does that reads in blocks: neither wild nor unknown."""
    estimator, now, value, cycle = Estimator(tau_seconds=10), 0.0, 0.0, many * apart + pause
    while now < 60:
        for _ in range(many):
            now += apart
            value += 1
            estimator.observe(now, value)
        now += pause
    rate = estimator.rate(now - pause + pause * moment)
    assert rate is not None
    assert many / cycle / 2 <= rate <= many / cycle * 2


@given(
    st.lists(
        st.tuples(st.floats(min_value=0.01, max_value=60), st.floats(0.01, 1e6)), min_size=2, max_size=30
    ),
    st.lists(st.floats(min_value=0, max_value=100), min_size=1, max_size=30),
)
def test_whatever_has_stopped_moving_fades_and_is_forgotten(
    moves: list[tuple[float, float]], waits: list[float]
) -> None:
    """The rate never rises while nothing moves, and is unknown in the end."""
    estimator, now, value = Estimator(tau_seconds=10), 0.0, 0.0
    for wait, amount in moves:
        now += wait
        value += amount
        estimator.observe(now, value)
    last = estimator.rate(now)
    for wait in waits:
        now += wait
        estimator.observe(now, value)  # looked at, and not moved
        rate = estimator.rate(now)
        assert rate is None or (last is not None and rate <= last)
        last = rate
    assert estimator.rate(now + 200) is None
