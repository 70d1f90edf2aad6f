"""The Sentinels of the tests fail over as those of production do."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.redis import binaries
from tests.support.sentinels import Sentinels


@pytest.fixture(params=sorted(binaries()))
def sentinels(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Sentinels]:
    with Sentinels(tmp_path, binary=binaries()[request.param]) as running:
        yield running


def test_a_master_that_is_killed_is_replaced_and_comes_back_as_a_replica(sentinels: Sentinels) -> None:
    """What was replicated is there after it, and the next failover can follow."""
    with sentinels.client() as client:
        client.set("written", "before")
        client.wait(1, 5000)
    killed = sentinels.kill_master()
    second = sentinels.wait_for_other_master(killed)
    with sentinels.client(second) as client:
        assert client.get("written") == b"before"
    sentinels.start(killed)
    sentinels.wait_for_replica(killed)
    sentinels.wait_until_whole()
    assert sentinels.failover() is killed


def test_a_master_that_is_frozen_is_replaced_and_demoted_when_it_wakes(sentinels: Sentinels) -> None:
    """Until it is told, it takes itself for the master."""
    frozen = sentinels.pause_master()
    sentinels.wait_for_other_master(frozen)
    frozen.resume()
    sentinels.wait_for_replica(frozen)
