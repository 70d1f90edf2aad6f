"""Rows about streams: one job to many, many jobs to one each."""

from __future__ import annotations

import asyncio
import os
import resource
import subprocess
import sys
import time
from dataclasses import dataclass
from typing import Any

from redis import Redis

from benchmarks.processes import CLIENT_CORE, SERVER_CORE, Measured, free_port, pin, run, wait_for_port
from benchmarks.publisher import create
from benchmarks.reader import Reader

SETTLE_SECONDS = 0.5
OPEN_SECONDS = 30.0
LAST_SECONDS = 15.0
"""After the last event was published, what is still on its way may take so long."""


@dataclass(frozen=True)
class Shape:
    """`streams` streams over `jobs` jobs, `events` events in all, `per_second` of them."""

    name: str
    jobs: int
    streams: int
    events: int
    per_second: float

    @property
    def deliveries(self) -> int:
        return self.events * self.streams // self.jobs


@dataclass(frozen=True)
class Row:
    """What one side did with one shape."""

    side: str
    shape: Shape
    delivered: int
    seconds: float
    p50: float
    p99: float
    cpu_per_delivery: float
    cpu_share: float
    kb_per_stream: float
    redis_connections: int


def server(side: str, url: str, port: int, data_dir: str) -> tuple[tuple[str, ...], dict[str, str]]:
    """Return the command and the environment of one side's server."""
    module = "milepost_api" if side == "milepost" else "benchmarks.tutorial"
    env = {
        "MILEPOST_REDIS_URL": url,
        "MILEPOST_PORT": str(port),
        "MILEPOST_DATA_DIR": data_dir,
        "MILEPOST_LOG_LEVEL": "error",
    }
    return (sys.executable, "-m", module), env


def measure(side: str, shape: Shape, url: str, data_dir: str) -> Row:
    """Run one shape against one side."""
    port, prefix = free_port(), f"bench-{os.getpid()}-{time.monotonic_ns()}-"
    jobs = [f"{prefix}{n}" for n in range(shape.jobs)]
    command, env = server(side, url, port, data_dir)
    path = "/v1/jobs/{}/status/stream" if side == "milepost" else "/stream/{}"
    asyncio.run(create(url, jobs))
    connections = _clients(url)
    with run(*command, core=SERVER_CORE, env=env) as process:
        wait_for_port(port)
        before_kb = process.resident_kb()
        reader = Reader(port)
        reader.open_many([path.format(jobs[n % shape.jobs]) for n in range(shape.streams)])
        _wait_until_open(side, shape, reader, url, jobs)
        per_stream = (process.resident_kb() - before_kb) / shape.streams
        used = _clients(url) - connections
        row = _publish_and_read(side, shape, url, prefix, reader, process, per_stream, used)
        reader.close()
    return row


def _wait_until_open(side: str, shape: Shape, reader: Reader, url: str, jobs: list[str]) -> None:
    """Return when every stream would get the next event: before that, none may be published."""
    deadline = time.monotonic() + OPEN_SECONDS
    while time.monotonic() < deadline:
        spoken = reader.settle(SETTLE_SECONDS)
        if side == "tutorial":  # it says nothing before the first event; Redis knows who has subscribed
            spoken = _subscriptions(url, jobs)
        if spoken >= shape.streams:
            reader.settle(SETTLE_SECONDS)
            return
    raise RuntimeError(f"{side}: not all of {shape.streams} streams were open after {OPEN_SECONDS:g} s")


def _publish_and_read(
    side: str,
    shape: Shape,
    url: str,
    prefix: str,
    reader: Reader,
    process: Measured,
    per_stream: float,
    used: int,
) -> Row:
    arguments = (side, url, prefix, str(shape.jobs), str(shape.events), str(shape.per_second))
    publisher = subprocess.Popen(
        (sys.executable, "-m", "benchmarks.publisher", *arguments),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    pin(CLIENT_CORE, publisher.pid)
    assert publisher.stdin is not None
    assert publisher.stdout is not None
    publisher.stdout.readline()
    reader.settle(0.5)
    cpu, began = process.cpu_seconds(), time.monotonic()
    publisher.stdin.write(b"go\n")
    publisher.stdin.flush()
    most = shape.events / shape.per_second + LAST_SECONDS
    seen = reader.read(deliveries=shape.deliveries, seconds=most)
    cpu = process.cpu_seconds() - cpu
    seconds = max(seen.last - began, 1e-9)
    publisher.stdin.close()
    publisher.wait(30)
    return Row(
        side=side,
        shape=shape,
        delivered=seen.deliveries,
        seconds=seconds,
        p50=seen.percentile(0.5),
        p99=seen.percentile(0.99),
        cpu_per_delivery=cpu / max(1, seen.deliveries),
        cpu_share=cpu / seconds,
        kb_per_stream=per_stream,
        redis_connections=used,
    )


def _subscriptions(url: str, jobs: list[str]) -> int:
    with Redis.from_url(url) as redis:
        found: Any = redis.pubsub_numsub(*(f"job:{job_id}" for job_id in jobs))
        return sum(count for _, count in found)


def _clients(url: str) -> int:
    with Redis.from_url(url) as redis:
        return int(redis.info("clients")["connected_clients"])


def raise_file_limit() -> None:
    """Thousands of streams need as many file descriptors."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
