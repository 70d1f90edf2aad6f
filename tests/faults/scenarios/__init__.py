"""The faults by name. Each scenario gets a `Round`, submits jobs, and hurts the house at a random moment."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from tests.faults.rounds import Round
from tests.faults.scenarios import clocks, deploys, jobs, network, servers, storm, workers

Scenario = Callable[[Round], Awaitable[None]]

SCENARIOS: dict[str, Scenario] = {
    scenario.__name__.rstrip("_"): scenario
    for module in (workers, deploys, jobs, servers, network, clocks, storm)
    for scenario in module.SCENARIOS
}
