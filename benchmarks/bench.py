"""Where rows run: a Redis of their own on the client's core, and a folder."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from redis import Redis

from benchmarks.processes import CLIENT_CORE, Measured, free_port, run, wait_for_port
from milepost.launch.binary import find_server


@dataclass(frozen=True)
class Bench:
    """What every row is given. `streams` scales the rows about streams: tests want a few, the table a thousand."""

    url: str
    redis: Measured
    directory: Path
    scale: float = 1.0
    seen: dict[str, int] = field(default_factory=dict)

    def folder(self, name: str) -> Path:
        """Make a folder that nothing else uses."""
        self.seen[name] = self.seen.get(name, 0) + 1
        made = self.directory / f"{name}-{self.seen[name]}"
        made.mkdir()
        return made

    def scaled(self, number: float) -> int:
        return max(1, round(number * self.scale))

    def say(self, what: str) -> None:
        """Tell who waits what is being measured; on stderr, because stdout is the table."""
        print(f"  ... {what}", file=sys.stderr, flush=True)

    def connections(self) -> int:
        """Return how many clients Redis has, this question's own not counted."""
        with Redis.from_url(self.url) as redis:
            return int(redis.info("clients")["connected_clients"]) - 1

    def flush(self) -> None:
        """Begin a row with an empty Redis."""
        with Redis.from_url(self.url) as redis:
            redis.flushall()


@contextmanager
def open_bench(scale: float = 1.0) -> Iterator[Bench]:
    """Run a Redis for the benchmark alone, on the client's core."""
    port = free_port()
    program = str(find_server(os.environ))
    with tempfile.TemporaryDirectory() as directory:
        # The backlog: the tutorial connects once for each stream, a thousand at the same time.
        options = ("--bind", "127.0.0.1", "--save", "", "--tcp-backlog", "4096", "--dir", directory)
        command = (program, "--port", str(port), *options)
        with run(*command, core=CLIENT_CORE) as redis:
            wait_for_port(port, redis)
            yield Bench(f"redis://127.0.0.1:{port}/0", redis, Path(directory), scale)
