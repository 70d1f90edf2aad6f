"""What tells requests apart, and how a bulk operation says how far it has come."""

from __future__ import annotations

import pytest
from milepost_api.bulk import KINDS, Place
from milepost_api.problems import Problem
from milepost_api.records import JobFilter
from milepost_api.submit import Submission, fingerprint, fingerprint_of_retry


def test_what_is_at_its_default_is_not_part_of_a_fingerprint() -> None:
    """Said or left out, it means the same; a field that a later version adds changes nothing."""
    said = Submission(task="t", params={}, priority=0, tags=[], metadata={}, queue=None, delay_seconds=None)
    assert fingerprint(said) == fingerprint(Submission(task="t"))
    assert fingerprint(Submission(task="t")) == (
        "6e547b59fa71d00da720c52368760d5e1c1ae523a6bd60709e54458f4f5773d8"
    )


def test_what_differs_has_another_fingerprint() -> None:
    """Task, params, options; and doing a job again is no submission."""
    ways = [
        fingerprint(Submission(task="t")),
        fingerprint(Submission(task="u")),
        fingerprint(Submission(task="t", params={"a": 1})),
        fingerprint(Submission(task="t", params={"a": "1"})),
        fingerprint(Submission(task="t", priority=1)),
        fingerprint_of_retry("t"),
        fingerprint_of_retry("u"),
    ]
    assert len(set(ways)) == len(ways)


@pytest.mark.parametrize(
    "text", ["", "-", "1-", "0-0123456789abcdef", "1-0123456789abcdeg", "1-0123", "x-0123456789abcdef"]
)
def test_a_place_is_read_as_it_was_written_and_nothing_else_is(text: str) -> None:
    """The operation that goes on is the one that began."""
    place = Place(Place.begin("key").operation, after=17)
    assert Place.parse(str(place)) == place
    assert Place.begin("key") == Place.begin("key") != Place.begin("other")
    assert Place.parse(text) is None


def test_an_action_asks_for_what_it_can_touch() -> None:
    """What was asked for wins where it is possible; where nothing is, that is said."""
    asked = JobFilter(statuses=("succeeded", "running"))
    assert KINDS["retry"].narrowed(JobFilter()).statuses == ("failed", "cancelled", "expired")
    assert KINDS["retry"].narrowed(asked).statuses == ("succeeded",)
    assert KINDS["cancel"].narrowed(asked).statuses == ("running",)
    with pytest.raises(Problem, match="not there to delete: running"):
        KINDS["delete"].narrowed(JobFilter(statuses=("running",)))
