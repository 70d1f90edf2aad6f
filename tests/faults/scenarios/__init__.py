"""The faults by name. Each scenario gets a `Round`, submits jobs, and hurts the house at a random moment."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from tests.faults.kinds import PLAIN, Kind
from tests.faults.rounds import Round
from tests.faults.scenarios import (
    clocks,
    databases,
    deploys,
    disks,
    failovers,
    jobs,
    killed,
    network,
    servers,
    storm,
    workers,
    working,
)
from tests.faults.scenarios.killed import KILLED_AT

Scenario = Callable[[Round], Awaitable[None]]

_MODULES = (
    workers,
    deploys,
    jobs,
    servers,
    network,
    clocks,
    storm,
    killed,
    working,
    disks,
    databases,
    failovers,
)

SCENARIOS: dict[str, Scenario] = {
    scenario.__name__.rstrip("_"): scenario for module in _MODULES for scenario in module.SCENARIOS
}

HOUSES: dict[str, Kind] = {
    scenario.__name__.rstrip("_"): getattr(module, "HOUSE", PLAIN)
    for module in _MODULES
    for scenario in module.SCENARIOS
}
"""In which kind of house each is played."""

SQLITE_ONLY = frozenset(scenario.__name__ for scenario in disks.SCENARIOS)
"""What cannot be done to a PostgreSQL."""

__all__ = ["HOUSES", "KILLED_AT", "SCENARIOS", "SQLITE_ONLY", "Scenario"]
