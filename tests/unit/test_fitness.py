"""What is said of a Redis that would lose jobs."""

from __future__ import annotations

from typing import Any

import pytest

from milepost.log.fitness import advice
from tests.support.process import ROOT

FIT: dict[str, Any] = {
    "redis_version": "7.0.15",
    "maxmemory": 1_000_000,
    "maxmemory_policy": "noeviction",
    "aof_enabled": 1,
    "role": "master",
    "cluster_enabled": 0,
}


@pytest.mark.parametrize(
    ("info", "saves", "expected"),
    [
        ({}, "", []),
        ({"maxmemory_policy": "allkeys-lru"}, "", ["redis.evicts"]),
        ({"maxmemory_policy": "volatile-ttl"}, "", ["redis.evicts"]),
        ({"maxmemory_policy": "allkeys-lru", "maxmemory": 0}, "", []),  # without a limit nothing is evicted
        ({"aof_enabled": 0}, "", ["redis.forgets"]),
        ({"aof_enabled": 0}, "3600 1", []),
        ({"aof_enabled": 0}, None, []),  # nobody can know
        ({"redis_version": "6.2.14"}, "", ["redis.is_old"]),
        ({"redis_version": "10.0.1"}, "", []),
        ({"role": "slave", "master_host": "h", "master_port": 1}, "", ["redis.is_a_replica"]),
        ({"cluster_enabled": 1}, "", ["redis.is_a_cluster"]),
    ],
)
def test_what_is_wrong_is_said_and_nothing_else(
    info: dict[str, Any], saves: str | None, expected: list[str]
) -> None:
    """Each has a line of its own, with what to do."""
    found = advice(FIT | info, saves)
    assert list(found) == expected
    assert all(sentence.endswith(".") for sentence in found.values())


def test_a_server_that_says_little_is_taken_as_it_is() -> None:
    """A managed Redis may leave out what it likes."""
    assert advice({}, None) == {}


def test_every_line_is_in_the_documentation() -> None:
    """Whoever reads the log can look it up."""
    all_wrong = {
        "redis_version": "6.0",
        "maxmemory_policy": "allkeys-lru",
        "aof_enabled": 0,
        "role": "slave",
        "cluster_enabled": 1,
    }
    page = (ROOT / "docs" / "operations.md").read_text("utf-8")
    names = list(advice(FIT | all_wrong, ""))
    assert len(names) == 5
    assert [name for name in names if f"| `{name}` |" not in page] == []
