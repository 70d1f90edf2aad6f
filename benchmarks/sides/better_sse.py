"""better-sse, on Node: a channel for each job, fed from one Redis subscription."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.bench import Bench
from benchmarks.processes import SERVER_CORE, free_port, run, wait_for_port
from benchmarks.sides.side import Server, Side
from benchmarks.sides.tools import tool

PROGRAM = Path(__file__).parent.parent / "servers" / "node" / "better_sse.mjs"


@contextmanager
def _start(bench: Bench) -> Iterator[Server]:
    port = free_port()
    env = {"MILEPOST_REDIS_URL": bench.url, "MILEPOST_PORT": str(port), "NODE_ENV": "production"}
    with run(tool("MILEPOST_BENCH_NODE"), str(PROGRAM), core=SERVER_CORE, env=env) as process:
        wait_for_port(port, process)
        yield Server(port, process, bench.url)


BETTER_SSE = Side(
    name="better-sse",
    what="Node, a channel's broadcast, one pub/sub connection",
    path="/stream/{}",
    ready=b"\r\n\r\n",
    publish="publish",
    start=_start,
    tools=("MILEPOST_BENCH_NODE",),
)
