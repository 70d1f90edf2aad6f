"""The sides that are Python: Milepost, the tutorial's recipe, and FastAPI's own server-sent events."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

from benchmarks.bench import Bench
from benchmarks.processes import SERVER_CORE, free_port, run, wait_for_port
from benchmarks.sides.side import Server, Side


def _start(module: str) -> Callable[[Bench], AbstractContextManager[Server]]:
    @contextmanager
    def start(bench: Bench) -> Iterator[Server]:
        port = free_port()
        env = {
            "MILEPOST_REDIS_URL": bench.url,
            "MILEPOST_PORT": str(port),
            "MILEPOST_DATA_DIR": str(bench.folder("data")),
            "MILEPOST_LOG_LEVEL": "error",
        }
        with run(sys.executable, "-m", module, core=SERVER_CORE, env=env) as process:
            wait_for_port(port, process)
            yield Server(port, process, bench.url)

    return start


TUTORIAL = Side(
    name="tutorial",
    what="sse-starlette, a Redis pub/sub connection and a JSON encoding per client",
    path="/stream/{}",
    ready=b"\r\n\r\n",
    publish="publish",
    start=_start("benchmarks.servers.tutorial"),
)

FASTAPI = Side(
    name="fastapi",
    what="FastAPI's own EventSourceResponse, one pub/sub connection, a queue per client",
    path="/stream/{}",
    ready=b"\r\n\r\n",
    publish="publish",
    start=_start("benchmarks.servers.native"),
)

MILEPOST = Side(
    name="milepost",
    what="every event numbered, kept and resumable",
    path="/v1/jobs/{}/status/stream",
    ready=b"event: snapshot",
    publish="joblog",
    start=_start("milepost_api"),
)
