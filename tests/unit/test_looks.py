"""Looks: how often a long line is looked through."""

from __future__ import annotations

from milepost.log import Looks
from milepost.log.looks import DEPTH, PACE_SECONDS


def test_a_long_line_is_looked_through_in_parts_with_pauses() -> None:
    """Each part begins where the last one ended, and the pause grows with what had to be passed over."""
    now = 0.0
    looks = Looks(clock=lambda: now)
    assert looks.next("q") == (0, DEPTH)
    pause = looks.looked("q", 2100, 2000)
    assert pause == 2000 * PACE_SECONDS
    assert looks.next("q") == (2100, 0)  # woken before: the front only
    assert looks.looked("q", 2100, 100) == pause
    now += pause
    assert looks.next("q") == (2100, DEPTH)
    assert looks.next("other") == (0, DEPTH)
    assert looks.looked("q", -1, 300) is None  # the end: from the front again
    assert looks.next("q") == (0, 0)


def test_a_look_that_passed_over_nothing_costs_no_pause() -> None:
    """Most workers know every task and have no limits."""
    looks = Looks(clock=lambda: 0.0)
    assert looks.looked("q", -1, 0) is None
    assert looks.next("q") == (0, DEPTH)
