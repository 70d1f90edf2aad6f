"""Row about submissions: how many a second one process accepts over HTTP, and what each costs it."""

from __future__ import annotations

import asyncio
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from redis import Redis

from benchmarks.bench import Bench
from benchmarks.processes import CLIENT_CORE, SERVER_CORE, Measured, free_port, pin, run, wait_for_port
from benchmarks.report import Table
from tests.support.postgres import PostgresServer
from tests.support.process import Process

SUBMISSIONS, AT_ONCE = 5_000, 32
SIDES = ("arq enqueue_job", "flower", "milepost, sqlite", "milepost, postgres")
MODULE = "benchmarks.peers.milepost_peer"


@dataclass(frozen=True)
class Submitted:
    """`cpu_each` and times in seconds; the process that accepts has a core of its own."""

    side: str
    per_second: float
    cpu_each: float
    median: float
    p95: float


def measure(side: str, url: str, directory: str) -> Submitted:
    """Let `AT_ONCE` clients submit one job after the other; Redis, the database and they share the other core."""
    Path(directory).mkdir()
    with Redis.from_url(url) as redis:
        redis.flushall()
    if side == "arq enqueue_job":
        return _arq(side, url)
    with ExitStack() as running:
        address, body, server = running.enter_context(_server(side, url, directory))
        asyncio.run(_submit(address, body, 200))  # warm: imports, connections, statements
        cpu, began = server.cpu_seconds(), time.monotonic()
        waits = asyncio.run(_submit(address, body, SUBMISSIONS))
        seconds, cpu = time.monotonic() - began, server.cpu_seconds() - cpu
        return _figures(side, seconds, cpu, waits)


def show(bench: Bench) -> list[Table]:
    lines: list[tuple[str, ...]] = []
    for side in SIDES:
        bench.say(f"{side}, {SUBMISSIONS:,} submissions")
        found = measure(side, bench.url, str(bench.directory / f"submit-{len(lines)}"))
        lines.append(
            (
                found.side,
                f"{found.per_second:,.0f}",
                f"{found.cpu_each * 1e6:.0f}",
                f"{found.median * 1e3:.1f}",
                f"{found.p95 * 1e3:.1f}",
            )
        )
    title = f"{SUBMISSIONS:,} submissions, {AT_ONCE} at once, to one process on one core"
    return [Table(title, ("", "per second", "CPU us each", "p50 ms", "p95 ms"), lines)]


def _figures(side: str, seconds: float, cpu: float, waits: list[float]) -> Submitted:
    waits.sort()
    return Submitted(
        side,
        SUBMISSIONS / seconds,
        cpu / SUBMISSIONS,
        statistics.median(waits),
        waits[int(len(waits) * 0.95)],
    )


# --- who accepts ---------------------------------------------------------------------------------

Address = tuple[int, str]


@contextmanager
def _server(side: str, url: str, directory: str) -> Iterator[tuple[Address, bytes, Measured]]:
    serve = _flower(url) if side == "flower" else _milepost(side, url, directory)
    with serve as found:
        yield found


@contextmanager
def _flower(url: str) -> Iterator[tuple[Address, bytes, Measured]]:
    port = free_port()
    command = (sys.executable, "-m", "celery", "-A", "benchmarks.peers.celery_peer", "flower")
    options = (f"--port={port}", "--address=127.0.0.1", "--logging=error")
    env = {"MILEPOST_REDIS_URL": url, "FLOWER_UNAUTHENTICATED_API": "true"}
    with run(*command, *options, core=SERVER_CORE, env=env) as process:
        wait_for_port(port)
        yield (port, "/api/task/async-apply/noop"), json.dumps({"args": [1]}).encode(), process


@contextmanager
def _milepost(side: str, url: str, directory: str) -> Iterator[tuple[Address, bytes, Measured]]:
    port = free_port()
    env = {
        "MILEPOST_REDIS_URL": url,
        "MILEPOST_PORT": str(port),
        "MILEPOST_DATA_DIR": directory,
        "MILEPOST_LOG_LEVEL": "error",
    }
    with ExitStack() as parts:
        if side.endswith("postgres"):
            env["MILEPOST_DATABASE_URL"] = parts.enter_context(_postgres(directory))
            _upgrade(env)
        # A worker that offers the task and listens elsewhere: nothing is run meanwhile.
        worker = (sys.executable, "-m", "milepost_worker", MODULE)
        parts.enter_context(run(*worker, core=CLIENT_CORE, env=env | {"MILEPOST_QUEUES": "elsewhere"}))
        api = parts.enter_context(run(sys.executable, "-m", "milepost_api", core=SERVER_CORE, env=env))
        wait_for_port(port)
        _wait_for_task(url)
        body = json.dumps({"task": "noop", "params": {"total": 1}}).encode()
        yield (port, "/v1/jobs"), body, api


@contextmanager
def _postgres(directory: str) -> Iterator[str]:
    with PostgresServer(Path(directory), survives_power_cut=True) as server:
        process: Process | None = server._process
        assert process is not None
        pin(CLIENT_CORE, process.pid)
        yield server.url


def _upgrade(env: Mapping[str, str]) -> None:
    with tempfile.TemporaryFile() as output:
        command = (sys.executable, "-m", "milepost_api", "db", "upgrade")
        subprocess.run(command, check=True, env={**os.environ, **env}, stdout=output)


def _wait_for_task(url: str) -> None:
    with Redis.from_url(url) as redis:
        while not redis.hexists("mp:tasks", "noop"):
            time.sleep(0.05)


# --- who submits ---------------------------------------------------------------------------------


async def _submit(address: Address, body: bytes, count: int) -> list[float]:
    """Send the same request again and again on `AT_ONCE` connections; return how long each answer took."""
    port, path = address
    lines = (
        f"POST {path} HTTP/1.1",
        "Host: bench",
        "Content-Type: application/json",
        f"Content-Length: {len(body)}",
    )
    request = "\r\n".join((*lines, "", "")).encode() + body
    left, waits = iter(range(count)), list[float]()

    async def client() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for _ in left:
            began = time.monotonic()
            writer.write(request)
            await _answer(reader)
            waits.append(time.monotonic() - began)
        writer.close()

    async with asyncio.TaskGroup() as group:
        for _ in range(AT_ONCE):
            group.create_task(client())
    return waits


async def _answer(reader: asyncio.StreamReader) -> None:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
    status = int(head.split(" ", 2)[1])
    length = next(int(line[15:]) for line in head.split("\r\n") if line.startswith("content-length:"))
    body = await reader.readexactly(length)
    if status not in (200, 202):
        raise RuntimeError(f"the answer is {status}: {body[:300]!r}")


def _arq(side: str, url: str) -> Submitted:
    cores = os.sched_getaffinity(0)
    pin(SERVER_CORE)  # here the process that submits is the one that is measured
    try:
        cpu, began = time.process_time(), time.monotonic()
        waits = asyncio.run(_enqueue(url))
        seconds, cpu = time.monotonic() - began, time.process_time() - cpu
    finally:
        os.sched_setaffinity(0, cores)
    return _figures(side, seconds, cpu, waits)


async def _enqueue(url: str) -> list[float]:
    from arq.connections import RedisSettings, create_pool

    pool = await create_pool(RedisSettings.from_dsn(url))
    left, waits = iter(range(SUBMISSIONS)), list[float]()

    async def client() -> None:
        for _ in left:
            began = time.monotonic()
            await pool.enqueue_job("noop", 1)
            waits.append(time.monotonic() - began)

    async with asyncio.TaskGroup() as group:
        for _ in range(AT_ONCE):
            group.create_task(client())
    await pool.aclose()
    return waits
