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


@pytest.mark.parametrize("lease", [1.0, 2.0, 12.0, 600.0])
def test_regular_answers_need_no_patience(clock: Clock, lease: float) -> None:
    """While it is heard as often as it looks, silence has no excuse, however short a lease is."""
    patience = Patience(lease, clock)
    for _ in range(5):
        assert patience.is_over
        clock.now += patience.look_seconds
        patience.heard()


def test_patience_lasts_one_lease_after_a_lull(clock: Clock) -> None:
    """Nobody could be heard for a while, so everybody gets a whole lease."""
    patience = Patience(12, clock)
    patience.heard()
    clock.now += LULL_SECONDS + 0.1
    patience.heard()
    for passed, over in ((0.0, False), (11.9, False), (0.2, True)):
        clock.now += passed
        assert patience.is_over == over


@pytest.mark.parametrize("lease", [1.0, 2.0, 5.0, 12.0])
def test_no_gap_that_can_cost_a_lease_passes_for_the_rhythm(clock: Clock, lease: float) -> None:
    """A heartbeat that is a quarter of a lease old, and all of the gap: what is left must be some time to be heard."""
    patience = Patience(lease, clock)
    gap = 3 / 4 * lease - 0.05
    clock.now += gap
    patience.heard()
    assert not patience.is_over


def test_a_first_answer_that_was_long_in_coming_is_a_lull(clock: Clock) -> None:
    """A process that was started while Redis was frozen knows no more of its workers than any other."""
    patience = Patience(12, clock)
    clock.now += LULL_SECONDS + 0.1
    patience.heard()
    assert not patience.is_over
