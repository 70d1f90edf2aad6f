"""`milepost up`: Redis, then the worker and the API; ready when all are; stopped the other way round."""

from __future__ import annotations

import asyncio
import signal
import socket
import sys
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from milepost.background import end
from milepost.errors import SettingsError
from milepost.launch import ready
from milepost.launch.child import Command
from milepost.launch.embedded import EmbeddedRedis
from milepost.launch.house import House
from milepost.launch.keeper import Keeper
from milepost.launch.terminal import Terminal

BUILTIN_TASKS = "milepost_worker.builtin"
API_STOP_SECONDS, API_HURRIED_SECONDS = 15.0, 2.0  # it gives open requests ten
DRAIN_SECONDS = 20.0  # what a worker gives running jobs, if MILEPOST_DRAIN_SECONDS does not say otherwise
WORKER_STOP_SECONDS, WORKER_HURRIED_SECONDS = 25.0, 10.0  # after that; it then gives cancelled tasks five
LOOK_SECONDS = 0.1
PATIENCE_SECONDS = 15.0  # after so long the user is told what is being waited for

INTERRUPTED = 130


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What to run. `server` is the Redis program to start, or None to use the Redis at `redis_url`."""

    host: str
    port: int
    data_dir: Path
    env: Mapping[str, str]
    modules: Sequence[str] = ()
    server: Path | None = None
    redis_url: str = ""

    @property
    def url(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{self.port}"


async def supervise(plan: Plan, house: House, terminal: Terminal) -> int:
    """Run everything until a signal or a failure; return the exit code.

    0 after SIGTERM or SIGHUP, 130 after Ctrl-C, 1 after a failure, which is then said on standard error.
    """
    keeper = Keeper(house, terminal)
    with _signals(keeper, terminal) as received:
        try:
            await _until_asked(keeper, _start_all(plan, keeper, terminal))
            await keeper.asked.wait()
        finally:
            await keeper.stop_all()
    if keeper.failure:
        terminal.close()
        sys.stderr.write(f"milepost: {keeper.failure}\n")
        return 1
    terminal.line("milepost", "stopped; accepted jobs are kept for the next start")
    return INTERRUPTED if received == [signal.SIGINT] else 0


async def _start_all(plan: Plan, keeper: Keeper, terminal: Terminal) -> None:
    """Start all in order, and say so when they can be used."""
    redis_url = plan.redis_url
    if plan.server is not None:
        redis = EmbeddedRedis(plan.server, plan.data_dir / "redis")
        redis_url = redis.url
        await keeper.start(redis.command(plan.env))
        await _until("Redis", terminal, lambda: ready.redis(redis_url))
    env = {
        **plan.env,
        "MILEPOST_REDIS_URL": redis_url,
        "MILEPOST_DATA_DIR": str(plan.data_dir),
        "MILEPOST_PORT": str(plan.port),
        "PYTHONUNBUFFERED": "1",  # lines are to be seen when they are written
    }
    worker = await keeper.start(_worker(env, plan.modules))
    await keeper.start(_api(env))
    await _until("the worker", terminal, lambda: ready.worker(redis_url, worker.pid))
    await _until("the API", terminal, lambda: ready.api(plan.host, plan.port))
    keeper.settled = True
    terminal.plain(f"Milepost is ready on {plan.url} (Ctrl-C stops it)")


def _worker(env: Mapping[str, str], modules: Sequence[str]) -> Command:
    return Command(
        name="worker",
        argv=(sys.executable, "-m", "milepost_worker", BUILTIN_TASKS, *modules),
        env=env,
        stop_seconds=_drain_seconds(env) + WORKER_STOP_SECONDS,
        hurried_seconds=WORKER_HURRIED_SECONDS,
    )


def _api(env: Mapping[str, str]) -> Command:
    return Command(
        name="api",
        argv=(sys.executable, "-m", "milepost_api"),
        env=env,
        stop_seconds=API_STOP_SECONDS,
        hurried_seconds=API_HURRIED_SECONDS,
    )


def _drain_seconds(env: Mapping[str, str]) -> float:
    try:
        return max(0.0, float(env.get("MILEPOST_DRAIN_SECONDS", DRAIN_SECONDS)))
    except ValueError:
        return DRAIN_SECONDS  # the worker will refuse it with a sentence


async def _until(what: str, terminal: Terminal, is_ready: Callable[[], Awaitable[bool]]) -> None:
    clock = asyncio.get_running_loop().time
    due = clock() + PATIENCE_SECONDS
    while not await is_ready():
        if clock() >= due:
            terminal.line("milepost", f"still waiting for {what}")
            due += PATIENCE_SECONDS
        await asyncio.sleep(LOOK_SECONDS)


async def _until_asked(keeper: Keeper, starting: Coroutine[Any, Any, None]) -> None:
    """Start, unless all are to stop before that is done.

    The start asks Redis again and again, and a question may lose the cancel: `end` says it until it is heard.
    """
    start, asked = asyncio.create_task(starting), asyncio.create_task(keeper.asked.wait())
    await asyncio.wait({start, asked}, return_when=asyncio.FIRST_COMPLETED)
    asked.cancel()
    await end(start)
    if not start.cancelled():
        start.result()


@contextmanager
def _signals(keeper: Keeper, terminal: Terminal) -> Iterator[list[signal.Signals]]:
    """Let the first signal ask for the stop, and a second one hurry it. Yields the list with the first."""
    loop, received = asyncio.get_running_loop(), list[signal.Signals]()

    def on(number: signal.Signals) -> None:
        if keeper.asked.is_set():
            terminal.line("milepost", "stopping at once: running jobs continue at the next start")
            keeper.hurry.set()
            return
        received.append(number)
        terminal.line("milepost", "stopping (once more to stop at once)")
        keeper.asked.set()

    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    for number in numbers:
        loop.add_signal_handler(number, on, number)
    try:
        yield received
    finally:
        for number in numbers:
            loop.remove_signal_handler(number)


def check_port(host: str, port: int) -> None:
    """Raise `SettingsError` if nobody can listen there: better now than as the last words of the API."""
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        with socket.socket(family) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((host, port))
            probe.listen(1)
    except OSError as error:
        raise SettingsError(
            f"Port {port} of {host} cannot be used: {error.strerror}. Stop what listens there, or choose "
            f"another port: MILEPOST_PORT={port % 65_535 + 1} milepost up"
        ) from None
