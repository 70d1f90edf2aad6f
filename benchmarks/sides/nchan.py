"""nchan, in nginx: written in C, messages kept in its memory."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.bench import Bench
from benchmarks.processes import SERVER_CORE, free_port, run, wait_for_port
from benchmarks.sides.side import Server, Side
from benchmarks.sides.tools import tool

TEMPLATE = Path(__file__).parent.parent / "servers" / "nchan.conf"


@contextmanager
def _start(bench: Bench) -> Iterator[Server]:
    port, folder = free_port(), bench.folder("nchan")
    text = TEMPLATE.read_text("utf-8")
    for name, value in {"module": tool("MILEPOST_BENCH_NCHAN"), "folder": folder, "port": port}.items():
        text = text.replace(f"@{name}@", str(value))
    (folder / "nginx.conf").write_text(text)
    folder.chmod(0o755)  # started by root, nginx works as nobody
    nginx = (tool("MILEPOST_BENCH_NGINX"), "-p", str(folder), "-c", str(folder / "nginx.conf"))
    with run(*nginx, core=SERVER_CORE) as process:
        wait_for_port(port, process)
        yield Server(port, process, f"http://127.0.0.1:{port}")


NCHAN = Side(
    name="nchan",
    what="C, in nginx with one worker process; published by pipelined POST",
    path="/stream/{}",
    ready=b"\r\n\r\n",
    publish="post",
    start=_start,
    tools=("MILEPOST_BENCH_NGINX", "MILEPOST_BENCH_NCHAN"),
)
