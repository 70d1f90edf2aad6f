"""The caretaker is patient with workers that nobody could hear."""

from __future__ import annotations

import pytest
from milepost_api.caretaker.patience import LULL_SECONDS, Patience


class Clock:
    """Stands still until it is told to go on."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_regular_answers_need_no_patience(clock: Clock) -> None:
    """A Redis that has been up for long and answers every second gives silence no excuse."""
    patience = Patience(12, clock)
    patience.began(uptime_seconds=3600)
    for _ in range(5):
        assert patience.is_over
        patience.heard()
        clock.now += 1


def test_patience_lasts_one_lease_after_a_lull(clock: Clock) -> None:
    """Nobody could be heard for a while, so everybody gets a whole lease."""
    patience = Patience(12, clock)
    patience.heard()
    clock.now += LULL_SECONDS + 0.1
    patience.heard()
    for passed, over in ((0.0, False), (11.9, False), (0.2, True)):
        clock.now += passed
        assert patience.is_over == over


def test_a_fresh_redis_is_given_the_rest_of_a_lease(clock: Clock) -> None:
    """Its workers have had as long to be heard as it has been up."""
    patience = Patience(12, clock)
    patience.began(uptime_seconds=5)
    for passed, over in ((6.9, False), (0.2, True)):
        clock.now += passed
        assert patience.is_over == over
