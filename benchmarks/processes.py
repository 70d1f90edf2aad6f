"""Processes under measurement: where they run, how much CPU they have used, how much memory they hold."""

from __future__ import annotations

import os
import resource
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

SERVER_CORE, CLIENT_CORE = 0, 1
TICKS = os.sysconf("SC_CLK_TCK")


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


def pin(core: int, pid: int = 0) -> None:
    """Keep a process (0: this one) on one core, where the system can do that."""
    if hasattr(os, "sched_setaffinity") and (os.cpu_count() or 1) > 1:
        os.sched_setaffinity(pid, {core})


@contextmanager
def pinned(core: int) -> Iterator[None]:
    """Keep this process, and whatever it starts meanwhile, on one core until the block ends."""
    if not hasattr(os, "sched_setaffinity"):
        yield
        return
    before = os.sched_getaffinity(0)
    pin(core)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def raise_file_limit() -> None:
    """Thousands of streams need as many file descriptors."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


class Measured:
    """A process and its children: their CPU seconds and their kilobytes as the kernel counts them (Linux)."""

    def __init__(self, pid: int, process: subprocess.Popen[bytes] | None = None) -> None:
        self.pid, self._process = pid, process

    @property
    def has_ended(self) -> bool:
        return self._process is not None and self._process.poll() is not None

    def cpu_seconds(self) -> float:
        return sum(_cpu_seconds(pid) for pid in _family(self.pid))

    def kilobytes(self) -> int:
        """Return what they hold, pages that several of them share counted once."""
        return sum(_kilobytes(pid) for pid in _family(self.pid))


def _family(pid: int) -> Iterator[int]:
    yield pid
    for thread in Path(f"/proc/{pid}/task").iterdir():
        for child in (thread / "children").read_text().split():
            yield from _family(int(child))


def _cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def _kilobytes(pid: int) -> int:
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1])
    raise RuntimeError(f"/proc/{pid}/smaps_rollup names no Pss; the benchmark needs Linux 4.14 or newer")


@contextmanager
def run(*command: str, core: int, env: Mapping[str, str] | None = None) -> Iterator[Measured]:
    """Run a process for as long as the block; its output goes to a file, shown if it ends too early."""
    with tempfile.TemporaryFile() as output:
        with pinned(core):  # inherited: what the process starts at once would escape a later call
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env={**os.environ, **(env or {})},
                start_new_session=True,
            )
        try:
            yield Measured(process.pid, process)
        finally:
            early = process.poll()
            if early is not None:
                output.seek(0)
                sys.stderr.write(output.read().decode(errors="replace"))
                sys.stderr.write(f"{' '.join(command)} ended too early, with {early}\n")
            stop(process)
        if early is not None:
            raise RuntimeError(f"{command} ended with {early}")


@contextmanager
def told(module: str, *arguments: str, core: int) -> Iterator[subprocess.Popen[bytes]]:
    """Run one of our own modules that takes orders on stdin and answers on stdout, once it has said `ready`."""
    with (
        pinned(core),
        subprocess.Popen(
            (sys.executable, "-m", module, *arguments),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,
        ) as process,
    ):
        assert process.stdout is not None
        try:
            if process.stdout.readline().strip() != b"ready":
                raise RuntimeError(f"{module} did not start; what it said is above")
            yield process
        finally:
            stop(process)


def stop(process: subprocess.Popen[bytes]) -> None:
    """End a process that was started with a session of its own, and what it has started."""
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(15)
    except subprocess.TimeoutExpired:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def wait_for_port(port: int, process: Measured | None = None, seconds: float = 60) -> None:
    """Return when something listens there; not if the process that should has ended."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            with socket.create_connection(("127.0.0.1", port), 1):
                return
        except OSError:
            if time.monotonic() > deadline or (process and process.has_ended):
                raise
            time.sleep(0.05)
