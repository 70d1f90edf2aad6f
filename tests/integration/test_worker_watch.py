"""`milepost worker --watch`: changes are picked up, jobs survive them, nothing is left behind."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import psutil
import pytest

from milepost.job import Status
from milepost.log import Catalogue
from tests.support.process import Process, python_environment
from tests.support.wait import eventually
from tests.support.workers import Fleet

SOURCE = """
import asyncio
from helpers import SECONDS, note
from milepost import task

@task(name="w.version")
async def version() -> int:
    return {version}

@task(name="w.sleep")
async def sleep(marks: str) -> str:
    note(marks)
    await asyncio.sleep(SECONDS)
    return "version {version}"
"""
HELPERS = """
import os
SECONDS = {seconds}
def note(marks):
    with open(marks, "a") as file:
        file.write(f"ran {{os.getpid()}}\\n")
"""


class Watched:
    """A watcher over a folder with two files of Python."""

    def __init__(self, fleet: Fleet, folder: Path) -> None:
        self.fleet, self.folder = fleet, folder
        folder.mkdir()
        self.write(1)
        self.help(3600)
        self.process = Process(
            "watcher",
            [sys.executable, "-m", "milepost_worker", "--watch", "mytasks"],
            log=fleet.folder / "watcher.log",
            env=python_environment({"MILEPOST_REDIS_URL": fleet.url, "MILEPOST_DRAIN_SECONDS": "3600"}),
            cwd=folder,
        )
        fleet.workers.append(self.process)

    def write(self, version: int) -> None:
        (self.folder / "mytasks.py").write_text(SOURCE.format(version=version))

    def help(self, seconds: float) -> None:
        (self.folder / "helpers.py").write_text(HELPERS.format(seconds=seconds))

    async def pid(self, *, other_than: int = 0) -> int:
        """Wait for a worker and return its pid."""

        async def there() -> int | None:
            self.process.check_alive()
            pids = [one.pid for one in await Catalogue(self.fleet.redis).workers() if one.pid != other_than]
            return pids[0] if pids else None

        return await eventually(there, "a worker is there")


@pytest.fixture
async def watched(fleet: Fleet, tmp_path: Path) -> Watched:
    watched = Watched(fleet, tmp_path / "code")
    watched.process.start()
    return watched


def is_gone(pid: int) -> bool:
    return not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


async def test_a_change_brings_new_code_and_costs_no_attempt(watched: Watched, fleet: Fleet) -> None:
    """The running job is handed back at once, and runs again by the new code."""
    first = await watched.pid()
    assert (await fleet.run("w.version")).result == 1
    marks = fleet.file()
    job_id = await fleet.submit("w.sleep", {"marks": str(marks)})
    await fleet.running(job_id, marks)
    watched.write(2)
    watched.help(0.01)
    job = await fleet.ended(job_id)
    assert (job.status, job.attempt, job.result) == (Status.SUCCEEDED, 1, "version 2")
    second = await watched.pid(other_than=first)
    assert fleet.ran(marks)[0] == first
    assert fleet.ran(marks)[-1] != first
    assert is_gone(first)
    assert second != first
    assert (await fleet.run("w.version")).result == 2


async def test_code_that_cannot_be_imported_is_said_and_the_next_change_waited_for(
    watched: Watched, fleet: Fleet
) -> None:
    """In the sentence of a refused start; the watcher stays."""
    first = await watched.pid()
    (watched.folder / "mytasks.py").write_text("def broken(:\n")
    said = f"cannot be imported, invalid syntax: {watched.folder}/mytasks.py, line 1"
    await eventually(lambda: said in watched.process.output(), "it says so")
    await eventually(lambda: "waiting for a change" in watched.process.output(), "it waits")
    assert "Traceback" not in watched.process.output()
    watched.write(3)
    await watched.pid(other_than=first)
    assert (await fleet.run("w.version")).result == 3


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 0)])
async def test_a_signal_ends_all_at_once(watched: Watched, fleet: Fleet, number: int, code: int) -> None:
    """Running jobs are handed back, though draining would take an hour."""
    pid = await watched.pid()
    marks = fleet.file()
    job_id = await fleet.submit("w.sleep", {"marks": str(marks)})
    await fleet.running(job_id, marks)
    watched.process.send(number)
    assert watched.process.wait() == code
    assert is_gone(pid)
    job = await fleet.job(job_id)
    assert (job.status, job.attempt) == (Status.QUEUED, 0)


@pytest.mark.skipif(sys.platform != "linux", reason="other kernels tell nobody that a parent has died")
async def test_a_watcher_that_is_killed_leaves_no_orphan(watched: Watched) -> None:
    """The worker is told by the kernel, and leaves as on SIGTERM."""
    pid = await watched.pid()
    os.kill(watched.process.pid, signal.SIGKILL)
    watched.process.wait()
    await eventually(lambda: is_gone(pid), "the worker is gone")
