"""Real children that die, hang, shout and hold on, and the keeper that minds them."""

from __future__ import annotations

import asyncio
import errno
import io
import os
import shutil
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from milepost.errors import MilepostError
from milepost.launch import ready
from milepost.launch.binary import find_server
from milepost.launch.child import Child, Command
from milepost.launch.embedded import EmbeddedRedis
from milepost.launch.house import open_house
from milepost.launch.keeper import RESTART_SECONDS, Keeper
from milepost.launch.processes import identity
from milepost.launch.terminal import Terminal
from milepost.redis import connect
from tests.support.wait import eventually

pytestmark = pytest.mark.anyio

OBEDIENT = "import time; print('up', flush=True); time.sleep(600)"
STUBBORN = "import signal, time; signal.signal(15, signal.SIG_IGN); print('up', flush=True); time.sleep(600)"


def python(name: str, code: str, *, stop_seconds: float = 30, **more) -> Command:
    return Command(
        name=name, argv=(sys.executable, "-c", code), env=os.environ, stop_seconds=stop_seconds, **more
    )


class Watched:
    """A keeper whose clock and terminal the test holds. `told` is what its house has to say."""

    def __init__(self, keeper: Keeper, out: io.StringIO, told: list[str]) -> None:
        self.keeper, self.out, self.told = keeper, out, told
        self.now = 1000.0

    def said(self, text: str) -> bool:
        return text in self.out.getvalue()

    async def start(self, command: Command) -> Child:
        """Start and wait until it is up."""
        times = self.out.getvalue().count(f"{command.name:<8} | up")
        child = await self.keeper.start(command)
        await eventually(
            lambda: self.out.getvalue().count(f"{command.name:<8} | up") > times, f"{command.name} is up"
        )
        return child

    def pid(self, name: str) -> int:
        return self.keeper._children[name].pid


@pytest.fixture
async def watched(tmp_path: Path) -> AsyncIterator[Watched]:
    out = io.StringIO()
    terminal = Terminal(out, colour=False)
    told: list[str] = []
    with open_house(tmp_path / "data", told.append) as house:
        found = Watched(Keeper(house, terminal), out, told)
        found.keeper._clock = lambda: found.now
        yield found
        found.keeper.hurry.set()
        await found.keeper.stop_all()
    terminal.close()


async def another(watched: Watched, before: int) -> None:
    """Wait until the worker is not the one it was."""
    await eventually(lambda: watched.pid("worker") != before, "there is another one")


async def test_stops_the_youngest_first_and_each_before_the_next(watched: Watched) -> None:
    """The worker needs Redis while it drains."""
    last_words = (
        "import signal, sys, time\ndef bye(*_):\n time.sleep(0.2); print('bye', flush=True); sys.exit(0)\n"
    )
    code = last_words + "signal.signal(15, bye)\n" + OBEDIENT
    for name in ("redis", "worker", "api"):
        await watched.start(python(name, code))
    await watched.keeper.stop_all()
    lines = [line.split(" ")[0] for line in watched.out.getvalue().splitlines() if line.endswith("bye")]
    assert lines == ["api", "worker", "redis"]


async def test_a_child_that_dies_is_started_again(watched: Watched) -> None:
    """With a word about how it ended."""
    await watched.start(python("worker", OBEDIENT))
    watched.keeper.settled, before = True, watched.pid("worker")
    os.kill(before, signal.SIGKILL)
    await another(watched, before)
    assert watched.said("the worker was ended by SIGKILL; starting it again")
    assert not watched.keeper.asked.is_set()


async def test_a_child_that_dies_again_at_once_stops_everything(watched: Watched) -> None:
    """Its last lines are in the sentence."""
    code = "print('up'); print('the disk is full'); raise SystemExit(3)"
    watched.keeper.settled = True
    await watched.keeper.start(python("worker", code))
    await asyncio.wait_for(watched.keeper.asked.wait(), 30)
    assert watched.keeper.failure is not None
    assert "died twice" in watched.keeper.failure
    assert "exited with code 3" in watched.keeper.failure
    assert watched.keeper.failure.endswith("\n  the disk is full")


async def test_a_child_that_dies_now_and_then_is_always_started_again(watched: Watched) -> None:
    """A minute apart they are not the same trouble."""
    await watched.start(python("worker", OBEDIENT))
    watched.keeper.settled = True
    for _ in range(3):
        before = watched.pid("worker")
        os.kill(before, signal.SIGKILL)
        await another(watched, before)
        watched.now += RESTART_SECONDS
    assert watched.keeper.failure is None


async def test_a_child_that_does_not_start_is_not_started_again(watched: Watched) -> None:
    """A wrong setting is not mended by trying again."""
    await watched.keeper.start(python("api", "raise SystemExit('MILEPOST_X is wrong')"))
    await asyncio.wait_for(watched.keeper.asked.wait(), 30)
    assert watched.keeper.failure is not None
    assert "The api did not start" in watched.keeper.failure
    assert "MILEPOST_X is wrong" in watched.keeper.failure


async def test_a_child_that_cannot_be_started_again_stops_everything(watched: Watched) -> None:
    """No process, no memory, no file is left for it: nobody would mind it any more."""
    env = dict(os.environ)
    command = Command(name="worker", argv=(sys.executable, "-c", OBEDIENT), env=env, stop_seconds=30)
    child = await watched.start(command)
    watched.keeper.settled = True
    env["TOO_LONG"] = "x" * 1_000_000  # execve(2): E2BIG
    os.kill(child.pid, signal.SIGKILL)
    await asyncio.wait_for(watched.keeper.asked.wait(), 30)
    assert watched.keeper.failure == f"The worker cannot be started: {os.strerror(errno.E2BIG)}."


async def test_a_child_that_cannot_be_started_at_all_is_a_sentence(watched: Watched) -> None:
    """Not a traceback."""
    command = Command(name="worker", argv=(), env={"TOO_LONG": "x" * 1_000_000}, stop_seconds=30)
    with pytest.raises(MilepostError, match="The worker cannot be started: "):
        await watched.keeper.start(command)


async def test_a_directory_that_was_removed_keeps_nobody_from_being_minded(
    watched: Watched, tmp_path: Path
) -> None:
    """The note in it is for the next start: without it a child is started again and all are stopped."""
    for name in ("redis", "worker"):
        await watched.start(python(name, OBEDIENT))
    watched.keeper.settled, before = True, watched.pid("worker")
    shutil.rmtree(tmp_path / "data")
    os.kill(before, signal.SIGKILL)
    await another(watched, before)
    await watched.keeper.stop_all()
    assert [identity(watched.pid(name)) for name in ("redis", "worker")] == [None, None]
    assert any("processes.json cannot be written: " in sentence for sentence in watched.told)


async def test_a_child_that_will_not_stop_is_killed_after_its_time(watched: Watched) -> None:
    """And said to have been."""
    child = await watched.start(python("worker", STUBBORN, stop_seconds=0.2))
    await watched.keeper.stop_all()
    assert identity(child.pid) is None
    await eventually(lambda: watched.said("the worker did not stop in time and was killed"), "it is said")


async def test_hurry_asks_a_second_time_and_then_kills(watched: Watched) -> None:
    """A worker hands its jobs back at the second SIGTERM; what ignores both is killed."""
    twice = (
        "import signal, sys, time\nn = 0\ndef on(*_):\n global n; n += 1; print('asked', n, flush=True)\n"
        " if n == 2: sys.exit(0)\nsignal.signal(15, on)\nprint('up', flush=True)\nwhile True: time.sleep(600)\n"
    )
    await watched.start(python("redis", STUBBORN, stop_seconds=60, hurried_seconds=0.1))
    await watched.start(python("worker", twice, stop_seconds=60, hurried_seconds=30))
    stopping = asyncio.create_task(watched.keeper.stop_all())
    await eventually(lambda: watched.said("asked 1"), "the first SIGTERM has arrived")
    watched.keeper.hurry.set()
    await asyncio.wait_for(stopping, 30)
    assert watched.said("asked 2")
    assert not watched.said("the worker did not stop in time")
    assert watched.said("the redis did not stop in time")


async def test_a_killed_child_takes_its_own_children_along(watched: Watched) -> None:
    """They are of its session."""
    code = f"import subprocess, sys\nsubprocess.Popen([sys.executable, '-c', {STUBBORN!r}])\n{STUBBORN}"
    await watched.keeper.start(python("worker", "import os; print(os.getpid())\n" + code, stop_seconds=0.2))
    await eventually(lambda: watched.out.getvalue().count("| up") == 2, "both are up")
    await watched.keeper.stop_all()
    await eventually(lambda: _in_session(watched.pid("worker")) == [], "nobody of that session is left")


async def test_a_grandchild_that_holds_the_pipe_does_not_hold_the_stop(watched: Watched) -> None:
    """The end of the output is waited for, but not for ever."""
    code = (
        "import subprocess, sys\n"
        "p = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'], start_new_session=True)\n"
        f"print('held by', p.pid, flush=True)\n{OBEDIENT}"
    )
    await watched.start(python("worker", code))
    grandchild = int(watched.out.getvalue().split("held by ")[1].split()[0])
    try:
        await asyncio.wait_for(watched.keeper.stop_all(), 30)
    finally:
        os.kill(grandchild, signal.SIGKILL)


async def test_a_child_may_shout_as_much_as_it_likes(watched: Watched) -> None:
    """Its pipe is read all the time, so it never blocks; the last line is not lost."""
    code = "import sys; sys.stdout.write('x' * 5_000_000 + '\\nlast'); sys.stdout.flush()"
    child = await Child.start(python("worker", code), lambda _: None)
    assert await asyncio.wait_for(child.wait(), 60) == 0
    assert child.last_lines[-1] == "last"


async def test_the_embedded_redis_keeps_what_it_was_given(tmp_path: Path) -> None:
    """Through SIGKILL, in a folder with a difficult name, behind its password."""
    folder = tmp_path / 'a "b" \\c é'
    said: list[str] = []
    redis = EmbeddedRedis(find_server({}), folder)
    runs = []
    for number in (signal.SIGKILL, signal.SIGTERM):
        child = await Child.start(redis.command(os.environ), said.append)
        await eventually(lambda: ready.redis(redis.url), "redis answers")
        client = connect(redis.url)
        runs.append(await client.incr("runs"))
        await client.aclose()
        os.kill(child.pid, number)
        await child.wait()
    assert runs == [1, 2]
    assert (folder / "appendonlydir").is_dir()
    assert said == []  # nothing to worry a newcomer with


async def test_the_embedded_redis_lets_nobody_in_without_its_password(tmp_path: Path) -> None:
    """A port of this machine is open to all its users."""
    redis = EmbeddedRedis(find_server({}), tmp_path)
    child = await Child.start(redis.command(os.environ), lambda _: None)
    try:
        await eventually(lambda: ready.redis(redis.url), "redis answers")
        port = redis.url.rpartition(":")[2]
        assert not await ready.redis(f"redis://127.0.0.1:{port}")
        assert not await ready.redis(f"redis://:guess@127.0.0.1:{port}")
    finally:
        await child.stop(asyncio.Event())


async def test_nothing_is_ready_where_nothing_listens() -> None:
    """False, not an exception."""
    assert not await ready.redis("redis://127.0.0.1:1/0")
    assert not await ready.worker("redis://127.0.0.1:1/0", 1)
    assert not await ready.api("127.0.0.1", 1)


def _in_session(session: int) -> list[int]:
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        try:
            fields = (path / "stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[3]) == session and fields[0] not in "ZX":
            found.append(int(path.name))
    return found
