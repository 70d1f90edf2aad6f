"""Streams that stand open on one side, and what happens when events are published to them."""

from __future__ import annotations

import asyncio
import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from benchmarks.bench import Bench
from benchmarks.processes import CLIENT_CORE, Measured, told
from benchmarks.publisher import create
from benchmarks.reader import Reader
from benchmarks.sides import MILEPOST, Server, Side

OPEN_SECONDS = 120.0
LAST_SECONDS = 4.0
"""After the last event was published, what is still on its way may take so long; who is later is seconds behind."""


@dataclass(frozen=True)
class Run:
    """What one side did with `expected` deliveries. Seconds; CPU shares are of one core, over the same time."""

    side: str
    offered: float
    published: float
    expected: int
    delivered: int
    seconds: float
    p50: float
    p99: float
    server_cpu: float
    client_share: float
    publisher_share: float
    redis_share: float
    bytes_each: float

    @property
    def per_second(self) -> float:
        return self.delivered / self.seconds

    @property
    def cpu_each(self) -> float:
        return self.server_cpu / max(1, self.delivered)

    @property
    def server_share(self) -> float:
        return self.server_cpu / self.seconds

    @property
    def complete(self) -> bool:
        return self.delivered >= self.expected


@dataclass
class Standing:
    """A server with all its streams open, and the process that publishes to them."""

    bench: Bench
    side: Side
    jobs: int
    streams: int
    server: Server
    reader: Reader
    publisher: subprocess.Popen[bytes]
    path: str
    """The address of the first stream."""

    def publish(self, events: int, per_second: float) -> Run:
        """Publish at a rate, read what arrives, and look at who used how much of which core."""
        deliveries = events * self.streams // self.jobs
        redis, publisher = self.bench.redis, Measured(self.publisher.pid)
        before = [process.cpu_seconds() for process in (self.server.process, redis, publisher)]
        own, began = time.process_time(), time.monotonic()
        self._order(events, per_second)
        seen = self.reader.read(deliveries=deliveries, seconds=events / per_second + LAST_SECONDS)
        seconds = max(seen.last - began, 1e-9)
        own = time.process_time() - own
        after = [process.cpu_seconds() for process in (self.server.process, redis, publisher)]
        server, redis_cpu, publisher_cpu = (b - a for a, b in zip(before, after, strict=True))
        return Run(
            side=self.side.name,
            offered=per_second,
            published=events / self._answer(),
            expected=deliveries,
            delivered=seen.deliveries,
            seconds=seconds,
            p50=seen.percentile(0.5),
            p99=seen.percentile(0.99),
            server_cpu=server,
            client_share=own / seconds,
            publisher_share=publisher_cpu / seconds,
            redis_share=redis_cpu / seconds,
            bytes_each=seen.received_bytes / max(1, seen.deliveries),
        )

    def warm(self) -> None:
        """Return when every stream gets what is published: before that, none may be measured."""
        heard, deadline = 0, time.monotonic() + OPEN_SECONDS
        while heard < self.streams:
            self._order(self.jobs, 5000)
            heard += self.reader.heard(1.0, self.streams - heard)
            self._answer()
            if time.monotonic() > deadline:
                raise TimeoutError(
                    f"{self.side.name}: {heard} of {self.streams} streams get what is published,"
                    f" {OPEN_SECONDS:g} s after they were opened"
                )
        self.reader.drain()

    def _order(self, events: int, per_second: float) -> None:
        assert self.publisher.stdin is not None
        self.publisher.stdin.write(f"{events} {per_second}\n".encode())
        self.publisher.stdin.flush()

    def _answer(self) -> float:
        """Return the seconds that the publisher took; streams may still get what it has published."""
        assert self.publisher.stdout is not None
        words = self.publisher.stdout.readline().split()
        if not words:
            raise RuntimeError(f"{self.side.name}: the publisher has ended; what it said is above")
        return float(words[0])


@dataclass(frozen=True)
class Opening:
    """How one side took a storm of new streams, and what they cost it once they stand. Seconds, kilobytes."""

    streams: int
    seconds: float
    turned_away: int
    server_cpu: float
    client_cpu: float
    redis_cpu: float
    kilobytes: int
    redis_connections: int
    """All that the server has; `redis_added` are those that it did not have before there was a stream."""
    redis_added: int

    @property
    def per_second(self) -> float:
        return self.streams / self.seconds

    @property
    def kilobytes_each(self) -> float:
        return self.kilobytes / self.streams


@contextmanager
def opened(bench: Bench, side: Side, jobs: int, streams: int) -> Iterator[Opening]:
    """Start one side, open `streams` over `jobs` as fast as it lets them in, and keep them until the block ends."""
    before_all = bench.connections()
    with serving(bench, side, jobs) as (server, prefix):
        before_streams = bench.connections()
        with Reader(server.port) as first:
            first.open(
                [side.path.format(f"{prefix}0")], side.ready, OPEN_SECONDS
            )  # what is made once is made now
        before = server.process.kilobytes()
        with Reader(server.port) as reader:
            paths = [side.path.format(f"{prefix}{number % jobs}") for number in range(streams)]
            cpu = [process.cpu_seconds() for process in (server.process, bench.redis)]
            own = time.process_time()
            took = reader.open(paths, side.ready, OPEN_SECONDS)
            own = time.process_time() - own
            used = [process.cpu_seconds() for process in (server.process, bench.redis)]
            reader.drain(1.0)
            yield Opening(
                streams=streams,
                seconds=took.seconds,
                turned_away=took.turned_away,
                server_cpu=used[0] - cpu[0],
                client_cpu=own,
                redis_cpu=used[1] - cpu[1],
                kilobytes=server.process.kilobytes() - before,
                redis_connections=bench.connections() - before_all,
                redis_added=bench.connections() - before_streams,
            )


@contextmanager
def serving(bench: Bench, side: Side, jobs: int) -> Iterator[tuple[Server, str]]:
    """Start one side and make the jobs; yields it, and what the jobs' names begin with."""
    bench.flush()
    prefix = f"bench-{os.getpid()}-{time.monotonic_ns()}-"
    if side is MILEPOST:
        asyncio.run(create(bench.url, [f"{prefix}{number}" for number in range(jobs)]))
    with side.start(bench) as server:
        yield server, prefix


@contextmanager
def standing(bench: Bench, side: Side, jobs: int, streams: int) -> Iterator[Standing]:
    """Start one side, open `streams` over `jobs`, and have somebody ready to publish."""
    with (
        serving(bench, side, jobs) as (server, prefix),
        Reader(server.port) as reader,
        told(
            "benchmarks.publisher", side.publish, server.publish_url, prefix, str(jobs), core=CLIENT_CORE
        ) as publisher,
    ):
        paths = [side.path.format(f"{prefix}{number % jobs}") for number in range(streams)]
        reader.open(paths, side.ready, OPEN_SECONDS)
        found = Standing(bench, side, jobs, streams, server, reader, publisher, paths[0])
        found.warm()
        yield found
