"""`milepost up` without its command line: how a start that fails, or is called off, comes to its end."""

from __future__ import annotations

import asyncio
import io
from pathlib import Path

import pytest

from milepost.launch import Plan, find_server, open_house, ready, supervise
from milepost.launch.embedded import free_port
from milepost.launch.terminal import Terminal
from tests.support.process import python_environment

DEADLINE_SECONDS = 90


@pytest.fixture
def refused(tmp_path: Path) -> Plan:
    """What to run, with a worker that refuses to start."""
    return Plan(
        host="127.0.0.1",
        port=free_port(),
        data_dir=tmp_path / "data",
        env=python_environment({}),
        modules=("no.such.module",),
        server=find_server({}),
    )


async def test_a_start_that_loses_the_cancel_is_not_waited_for(
    refused: Plan, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """As a command of redis-py does before Python 3.12, when it was sent at the same moment (see `background.end`)."""
    lost: list[bool] = []

    async def never(_url: str, _pid: int) -> bool:
        try:
            await asyncio.sleep(0 if lost else DEADLINE_SECONDS)
        except asyncio.CancelledError:
            lost.append(True)
        return False

    monkeypatch.setattr(ready, "worker", never)
    terminal = Terminal(io.StringIO(), colour=False)
    with open_house(refused.data_dir, lambda _: None) as house:
        code = await asyncio.wait_for(supervise(refused, house, terminal), DEADLINE_SECONDS)
    assert code == 1
    assert lost
    said = capsys.readouterr().err
    assert "The worker did not start" in said
    assert "no.such.module" in said
