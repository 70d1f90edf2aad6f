"""Limits of tasks: what may begin, and how often a long line is looked through."""

from __future__ import annotations

from milepost.log import Limits
from milepost.log.limits import DEPTH, PACE_SECONDS


def test_what_was_taken_counts_until_it_has_ended() -> None:
    """Tasks without a limit are nobody's business."""
    limits = Limits({"a": 2})
    for delivery, task in [("1.1", "a"), ("2.1", "a"), ("3.1", "b")]:
        limits.started(delivery, task)
    assert limits.room == {"a": 0}
    limits.ended("3.1")
    limits.ended("1.1")
    limits.ended("1.1")
    assert limits.room == {"a": 1}


def test_a_worker_without_limits_says_so() -> None:
    """It looks from the front, as far as the script goes, and never again sooner than it would."""
    limits = Limits({})
    assert list(limits.arguments("q"))[-1] == "0"
    assert limits.looked("q", 10_100, 500) is None


def test_a_long_line_is_looked_through_in_parts_with_pauses() -> None:
    """Each part begins where the last one ended, and the pause grows with what had to be passed over."""
    now = 0.0
    limits = Limits({"a": 0}, clock=lambda: now)
    assert list(limits.arguments("q")) == ["0", str(DEPTH), "1", "a", "0"]
    pause = limits.looked("q", 2100, 2000)
    assert pause == 2000 * PACE_SECONDS
    assert list(limits.arguments("q"))[:2] == ["2100", "0"]  # woken before: the front only
    assert limits.looked("q", 2100, 100) == pause
    now += pause
    assert list(limits.arguments("q"))[:2] == ["2100", str(DEPTH)]
    assert list(limits.arguments("other"))[:2] == ["0", str(DEPTH)]
    assert limits.looked("q", -1, 300) is None  # the end: from the front again
    assert list(limits.arguments("q"))[:2] == ["0", "0"]
