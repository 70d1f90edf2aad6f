"""A few rounds of every fault: `python3 dev.py faults` plays hundreds."""

from __future__ import annotations

import asyncio
import os
import secrets
from pathlib import Path

import pytest

from tests.faults.driver import Driver, Report, plan
from tests.faults.scenarios import SCENARIOS
from tests.support.process import ROOT

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

KEPT = ROOT / "test-artifacts" / "faults"


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Report:
    """One round of every scenario, four at a time: they mostly wait for leases. FAULTS_SEED repeats a run."""
    seed = int(os.environ.get("FAULTS_SEED") or secrets.randbelow(1_000_000))
    folder: Path = tmp_path_factory.mktemp("faults")
    driver = Driver(folder, KEPT, seed=seed, houses=4)
    longest_first = list(reversed(SCENARIOS))  # roughly; at the end three short ones leave no house waiting
    return asyncio.run(driver.run(plan(longest_first, len(SCENARIOS))))


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_every_job_keeps_every_law(report: Report, scenario: str) -> None:
    """Whatever dies: one end, no hole, nothing twice while its lease holds, no attempt that is not deserved."""
    assert report.tallies[scenario].outcomes, "no job was submitted"
    broken = {name: told for name, told in report.breaches.items() if name.partition(":")[0] == scenario}
    assert broken == {}, f"repeat it with: python3 dev.py faults --seed {report.seed} --only {scenario}:0"


def test_the_counts_are_told(report: Report, capsys: pytest.CaptureFixture[str]) -> None:
    """Every job has an outcome and every outcome is counted; whoever runs the tests sees them."""
    jobs = sum(sum(tally.outcomes.values()) for tally in report.tallies.values())
    assert f"{len(SCENARIOS)} rounds, {jobs} jobs" in report.table()
    with capsys.disabled():
        print(f"\n{report.table()}")
