"""The driver plays what it was asked to, counts everything, and does not keep a breach to itself."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.faults.__main__ import main
from tests.faults.driver import Report, plan
from tests.faults.house import LEASE_SECONDS
from tests.faults.rounds import Verdict
from tests.faults.scenarios import SCENARIOS
from tests.faults.test_laws import good


def test_a_plan_takes_the_scenarios_in_turn() -> None:
    """A short run leaves none of them out, and no round is played twice."""
    assert plan(["a", "b"], 5) == [("a", 0), ("b", 0), ("a", 1), ("b", 1), ("a", 2)]
    names = list(SCENARIOS)
    assert {name for name, _ in plan(names, len(names))} == set(names)


def test_every_outcome_is_counted_with_the_attempt_it_took() -> None:
    """And the seed is told, so that a round can be played again."""
    report, story = Report(seed=7), good()
    once = replace(story, job={**story.job, "attempt": 1})
    lost = replace(
        story, job={**story.job, "status": "failed", "error": {"code": "worker_lost"}, "attempt": 1}
    )
    report.add(Verdict("kill", 0, stories=[story, once, lost]))
    report.add(Verdict("kill", 1, stories=[once], breaches={"a": ["one_end: the log has 2 ends"]}))
    assert dict(report.tallies["kill"].outcomes) == {
        "succeeded at attempt 2": 1,
        "succeeded": 2,
        "failed:worker_lost": 1,
    }
    assert report.breaches == {"kill:1": ["a: one_end: the log has 2 ends"]}
    assert "2 rounds, 4 jobs, 1 rounds broke a law; seed 7" in report.table()


def test_a_machine_that_stood_still_is_no_witness() -> None:
    """A round that was held up for a third of a lease may have lost one to that."""
    assert not Verdict("kill", 0, lag_seconds=LEASE_SECONDS / 4).disturbed
    assert Verdict("kill", 0, lag_seconds=LEASE_SECONDS / 2).disturbed


def test_a_scenario_that_is_not_there_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    """With those that are."""
    assert main(["--only", "kil"]) == 2
    told = capsys.readouterr().err
    assert told.startswith("There is no scenario 'kil'; there are ")
    assert "kill, " in told


def test_what_is_about_sqlite_is_not_played_on_postgresql(capsys: pytest.CaptureFixture[str]) -> None:
    """And says so; a run of all scenarios leaves it out."""
    assert main(["--postgres", "--only", "disk_full"]) == 2
    assert capsys.readouterr().err == "disk_full is about SQLite; leave --postgres out.\n"
