"""`milepost worker --check`: what a health check is told."""

from __future__ import annotations

import signal
import subprocess
import sys

from tests.support.process import python_environment
from tests.support.redis import RedisServer
from tests.support.wait import eventually
from tests.support.workers import TASKS, Fleet


def check(fleet: Fleet, *arguments: str) -> tuple[int, str]:
    done = subprocess.run(
        [sys.executable, "-m", "milepost.cli.main", "worker", *arguments, "--check"],
        capture_output=True,
        text=True,
        env=python_environment({"MILEPOST_REDIS_URL": fleet.url}),
        timeout=100,
        check=False,
    )
    assert done.stdout == ""
    assert len(done.stderr.splitlines()) <= 1
    return done.returncode, done.stderr.strip()


async def test_a_worker_that_is_there_is_well(fleet: Fleet) -> None:
    """Any of this host will do, or the one that was asked for."""
    worker = await fleet.worker(queues="a,b")
    assert check(fleet) == (0, "")
    assert check(fleet, "--pid", str(worker.pid)) == (0, "")
    assert check(fleet, "--queue", "a", TASKS) == (0, "")
    code, sentence = check(fleet, "--pid", "1")
    assert (code, "No worker with process id 1 on" in sentence) == (1, True)
    code, sentence = check(fleet, "--queue", "a", "--queue", "c", "other.tasks")
    assert (code, sentence.endswith("serves queue a and queue c and module other.tasks.")) == (1, True)


async def test_a_worker_that_does_not_announce_itself_is_ill(fleet: Fleet) -> None:
    """One that is frozen, and none at all."""
    assert check(fleet)[0] == 1
    worker = await fleet.worker()
    worker.pause()
    await eventually(lambda: check(fleet)[0] == 1, "it is noticed")
    worker.resume()
    await eventually(lambda: check(fleet)[0] == 0, "it is back")
    worker.send(signal.SIGTERM)
    assert worker.wait() == 0
    code, sentence = check(fleet)
    assert (code, "has announced itself within the last 6 s" in sentence) == (1, True)


async def test_a_worker_is_not_blamed_for_a_redis_that_is_away(
    fleet: Fleet, redis_server: RedisServer
) -> None:
    """Whoever restarted it for that would have its jobs handed back for nothing."""
    await fleet.worker()
    redis_server.stop()
    code, sentence = check(fleet)
    assert (code, "Nobody can tell" in sentence) == (0, True)


def test_the_check_is_quick_to_import() -> None:
    """It runs every few seconds: neither arq nor pydantic nor a task is imported for it."""
    program = (
        "import sys, milepost_worker.main, milepost_worker.checking, milepost.log;"
        "print([name for name in ('arq', 'pydantic', 'structlog', 'milepost.tasks') if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        env=python_environment({}),
        check=True,
    )
    assert done.stdout.strip() == "[]"
