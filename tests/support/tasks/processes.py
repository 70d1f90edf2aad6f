"""`milepost worker tests.support.tasks.processes`: tasks in processes of their own, and what can go wrong there."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import hashlib
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from milepost import ProcessDied, Retry, progress, task
from milepost.errors import BadReport

FOREVER = 3600.0
IMPORTED_BY = os.getpid()


def _mark(marks: str, what: str = "ran", pid: int | None = None) -> None:
    with Path(marks).open("a", encoding="utf-8") as file:
        file.write(f"{what} {pid or os.getpid()}\n")


def _there(path: str) -> bool:
    return Path(path).exists()


@task(name="p.where", process=True)
def where() -> dict[str, Any]:
    return {
        "pid": os.getpid(),
        "parent": os.getppid(),
        "group": os.getpgrp(),
        "imported_by": IMPORTED_BY,
        "main_thread": threading.current_thread() is threading.main_thread(),
    }


@task(name="p.thread")
def thread() -> int:
    """Not in a process of its own: whose pid is the worker's."""
    return os.getpid()


@task(name="p.async", process=True)
async def in_a_loop(marks: str = "", seconds: float = 0.0) -> int:
    if marks:
        _mark(marks)
    progress(1, 2, "waiting")
    try:
        await asyncio.sleep(seconds)
    except asyncio.CancelledError:
        _mark(marks, f"cancelled-{progress.cancelled}")
        raise
    return os.getpid()


@task(name="p.everything", process=True)
def everything(big: int) -> str:
    """Use all that `progress` can do."""
    progress.plan({"load": 1.0, "save": 3.0})
    with progress.step("load", weight=1):
        for _ in progress.track(range(10), unit="rows", message="loading"):
            with progress.step("a row"):
                progress(0.5, 1)
        progress.log("loaded", "warning")
    with progress.step("save", weight=3):
        progress(0, 4)
        for _ in range(4):
            progress.advance()
        progress.output({"text": "x" * big})
        progress.log("saved ☃")
    return "y" * big


@task(name="p.large", process=True)
def large(size: int) -> str:
    return "z" * size


@task(name="p.burst", process=True)
def burst(seconds: float) -> dict[str, Any]:
    """Report as fast as it goes; say what one report costs."""
    count, until = 0, time.monotonic() + seconds
    while time.monotonic() < until:
        for _ in range(1000):
            count += 1
            progress(count, message="so far")
    return {"count": count, "seconds": seconds / count}


@task(name="p.talk", process=True)
def talk(lines: int) -> None:
    for n in range(lines):
        progress.output(n)


@task(name="p.bad_report", process=True)
def bad_report() -> None:
    try:
        progress(float("nan"))
    except BadReport:
        progress.log("refused in the task's own frame")
        raise


@task(name="p.chained", process=True)
def chained() -> None:
    try:
        raise LookupError("no such row")
    except LookupError as error:
        worse = RuntimeError("the import failed")
        worse.add_note("file rows.csv, line 7")
        raise worse from error


class Wayward(Exception):
    """Can be pickled, and not be made again: its __init__ wants more than its message."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(f"{reason} ({code})")


class Locked(Exception):
    """Cannot be pickled."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.lock = threading.Lock()


class LockedRetry(Retry):
    def __init__(self, after: float) -> None:
        super().__init__("once more", after=after)
        self.lock = threading.Lock()


class Mute(Exception):
    def __str__(self) -> str:
        raise ValueError("it does not say")


def _raise(kind: str) -> None:
    class Local(Wayward):
        pass

    errors: dict[str, Any] = {
        "plain": lambda: LookupError("no such row"),
        "wayward": lambda: Wayward(7, "gone astray"),
        "locked": lambda: Locked("has a lock"),
        "local": lambda: Local(8, "of a function"),
        "mute": Mute,
        "exit": lambda: SystemExit(1),
        "base": lambda: KeyboardInterrupt("not by a key"),
        "huge": lambda: ValueError("h" * 5_000_000),
    }
    error = errors[kind]()
    raise error


@task(name="p.raise", process=True, max_attempts=2, retry_on=(Locked, Wayward), backoff=0)
def raises(kind: str, marks: str) -> None:
    _mark(marks)
    progress(3, 10)
    _raise(kind)


@task(name="p.later", process=True, max_attempts=2, retry_on=())
def later(marks: str, *, locked: bool = False) -> str:
    _mark(marks)
    if len(Path(marks).read_text("utf-8").splitlines()) == 1:
        raise LockedRetry(0.3) if locked else Retry("once more", after=0.3)
    return "at last"


@task(name="p.die", process=True, max_attempts=2, retry_on=ProcessDied, backoff=0)
def die(kind: str, marks: str, *, once: bool = False) -> str:
    _mark(marks)
    if once and len(Path(marks).read_text("utf-8").splitlines()) > 1:
        return "at last"
    with progress.step("on the edge"):
        progress(7, 10, "so far")
        time.sleep(0.2)
        if kind == "exit":
            os._exit(3)
        if kind == "zero":
            os._exit(0)
        if kind == "segfault":
            ctypes.string_at(0)
        if kind == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        if kind == "closed":
            os.closerange(3, 256)
            progress(8, 10)
            time.sleep(FOREVER)
        if kind == "garbage":
            for descriptor in range(3, 64):
                with contextlib.suppress(OSError):
                    os.write(descriptor, b"Hello, world! " * 10)
            time.sleep(FOREVER)
    return "alive"


@task(name="p.sleep", process=True)
def sleep(marks: str, *, swallow: bool = False, finish: bool = False) -> str:
    """Sleep where only a signal wakes one, and clean up."""
    _mark(marks)
    progress(1, 10)
    try:
        time.sleep(FOREVER)
    except BaseException as error:
        _mark(marks, f"{type(error).__name__}-{progress.cancelled}")
        if finish:
            return "finished in time"
        if not swallow:
            raise
    finally:
        _mark(marks, "cleaned")
    while True:
        with contextlib.suppress(BaseException):
            time.sleep(FOREVER)


@task(name="p.compute", process=True)
def compute(marks: str) -> None:
    """Be in C code, from which no Python signal handler returns."""
    _mark(marks)
    hashlib.pbkdf2_hmac("sha256", b"", b"", 2**31 - 1)


@task(name="p.deaf", process=True)
def deaf(marks: str) -> None:
    """Block every signal that can be blocked."""
    signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    _mark(marks)
    while True:
        time.sleep(FOREVER)


@task(name="p.loop", process=True)
def loop(marks: str, go: str) -> str:
    _mark(marks)
    n = 0
    while not _there(go):
        n += 1
        progress(n)
        time.sleep(0.01)
    return f"pid {os.getpid()}"


@task(name="p.family", process=True)
def family(marks: str, *, stay: bool = True) -> None:
    """Start a process that ignores SIGTERM."""
    code = (
        "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); "
        "print('up', flush=True); time.sleep(3600)"
    )
    child = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
    assert child.stdout is not None
    child.stdout.readline()
    _mark(marks, "grandchild", child.pid)
    _mark(marks)
    if stay:
        time.sleep(FOREVER)


@task(name="p.timeout", process=True, timeout=0.5)
def slow(marks: str) -> None:
    _mark(marks)
    time.sleep(FOREVER)


@task(name="p.memory", process=True, memory_limit_mb=200)
def memory(kind: str) -> int:
    """Take more memory than allowed, in small parts that are used, or in one that is not."""
    held = []
    if kind == "at once":
        return len(bytearray(5_000_000_000))
    if kind == "within":
        return len(bytearray(50_000_000))
    for _ in range(300):
        held.append(b"\1" * 2_000_000)
        time.sleep(0.005)
    return len(held)


@task(name="p.default_limit", process=True)
def default_limit() -> int:
    held = [b"\1" * 2_000_000 for _ in range(300)]
    time.sleep(FOREVER)
    return len(held)


@task(name="p.says", process=True)
def says() -> None:
    print("on standard output")
    logging.getLogger("app").warning("through logging")


# --- pools of the task's own -----------------------------------------------------------------------


def count(n: int) -> int:
    """What a pool calls: two steps further, in whatever process."""
    progress.advance()
    with progress.step("half"):
        progress.advance()
    for _ in progress.track(range(2)):
        pass
    progress.advance()
    progress.log(f"{n} done")
    return os.getpid()


def pooled(kind: str, times: int) -> list[int]:
    bound = progress.bind(count)
    progress(0, 2 * times, "counting")
    if kind == "executor":
        with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as executor:
            return list(executor.map(bound, range(times)))
    with get_context(kind).Pool(2) as pool:
        return pool.map(bound, range(times))


@task(name="p.pool", steps={})
def pool(kind: str, times: int) -> list[int]:
    return pooled(kind, times)


@task(name="p.pool_of_a_process", process=True, steps={})
def pool_of_a_process(kind: str, times: int) -> list[int]:
    return pooled(kind, times)


def wait_for_the_end(marks: str) -> None:
    _mark(marks)
    try:
        while True:
            progress.advance()
            time.sleep(0.01)
    finally:
        _mark(marks, f"cancelled-{progress.cancelled}")


def waiting(marks: str) -> None:
    bound = progress.bind(wait_for_the_end)
    with get_context("spawn").Pool(2) as pool:
        pool.map(bound, [marks, marks], chunksize=1)


@task(name="p.waiting_pool")
def waiting_pool(marks: str) -> None:
    waiting(marks)


@task(name="p.waiting_pool_of_a_process", process=True)
def waiting_pool_of_a_process(marks: str) -> None:
    waiting(marks)
