"""`milepost worker tests.support.tasks.various`. Files stand in for what a test cannot see or say from outside."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from datetime import date
from pathlib import Path
from typing import Any

from milepost import Retry, progress, task

FOREVER = 3600.0


def _ran(marks: str, what: str = "ran") -> None:
    """Append a line that says who did it: the test counts them."""
    with Path(marks).open("a", encoding="utf-8") as file:
        file.write(f"{what} {os.getpid()}\n")


def _lines(marks: str) -> list[str]:
    return Path(marks).read_text("utf-8").splitlines()


def _there(path: str) -> bool:
    return Path(path).exists()


@task(name="t.add")
async def add(a: int, b: int = 2) -> int:
    return a + b


@task(name="t.thread")
def thread(day: date, marks: str) -> dict[str, Any]:
    _ran(marks)
    return {"next": day.replace(day=day.day + 1), "type": type(day).__name__}


@task(name="t.steps")
async def steps() -> None:
    with progress.step("load", weight=1):
        progress(1, 2, "half", unit="rows")
        progress.log("loaded")
    with progress.step("save", weight=3):
        progress.output({"rows": 2})


@task(name="t.burst")
def burst(seconds: float) -> int:
    """Report as fast as it goes, for so long."""
    count, until = 0, time.monotonic() + seconds
    while time.monotonic() < until:
        count += 1
        progress(count, message=f"{count} so far")
    return count


@task(name="t.result")
async def result(kind: str) -> Any:
    return {"nan": float("nan"), "object": object(), "date": date(2026, 1, 31), "large": "x" * 20_000}[kind]


@task(name="t.raise", max_attempts=1)
async def raises(kind: str) -> None:
    progress(3, 10)
    if kind == "exit":
        sys.exit(3)
    if kind == "surrogate":
        raise FileNotFoundError(2, "No such file", b"caf\xe9".decode("utf-8", "surrogateescape"))
    raise LookupError("no such row")


@task(name="t.exit_in_thread")
def exit_in_thread() -> None:
    sys.exit(3)


@task(name="t.sleep")
async def sleep(marks: str, seconds: float = FOREVER) -> str:
    """Wait, and say so when it is cancelled."""
    _ran(marks)
    progress(1, 10, "sleeping")
    try:
        await asyncio.sleep(seconds)
    except asyncio.CancelledError:
        _ran(marks, "cancelled")
        raise
    return "rested"


@task(name="t.stubborn")
async def stubborn(marks: str) -> str:
    """Swallow the cancellation."""
    _ran(marks)
    try:
        await asyncio.sleep(FOREVER)
    except asyncio.CancelledError:
        _ran(marks, "swallowed")
    return "as if nothing had happened"


@task(name="t.loop")
def loop(marks: str) -> None:
    """Report from a thread until told to stop."""
    _ran(marks)
    n = 0
    while True:
        n += 1
        progress(n)
        time.sleep(0.01)


@task(name="t.deaf")
def deaf(marks: str, go: str) -> str:
    """Hear of nothing until the file `go` is there, then report and return."""
    _ran(marks)
    progress(1, 10)
    while not _there(go):
        time.sleep(0.01)
    try:
        progress(9, 10, "too late")
    except BaseException as error:
        _ran(marks, type(error).__name__)
        raise
    _ran(marks, "unhindered")
    return "too late"


@task(name="t.fail", max_attempts=3, backoff=0.0)
async def fail(marks: str, until_attempt: int = 99) -> str:
    _ran(marks)
    if len(_lines(marks)) < until_attempt:
        raise ConnectionError("try again")
    return "at last"


@task(name="t.later", max_attempts=2)
async def later(marks: str, after: float) -> float:
    _ran(marks, str(time.time()))
    lines = _lines(marks)
    if len(lines) == 1:
        raise Retry(after=after)
    first, second = (float(line.split()[0]) for line in lines)
    return second - first


@task(name="t.block")
async def block(seconds: float, marks: str) -> str:
    """What an async task must not do: block the event loop, reporting all the while."""
    _ran(marks)
    until = time.monotonic() + seconds
    n = 0
    while time.monotonic() < until:
        n += 1
        progress(n, message="blocking")
        time.sleep(0.01)  # noqa: ASYNC251 - the very point
    return "done"


@task(name="t.wait_for_file")
async def wait_for_file(marks: str, go: str) -> str:
    """Report and wait for the file `go`."""
    _ran(marks)
    n = 0
    while not _there(go):
        n += 1
        progress(n)
        await asyncio.sleep(0.02)
    return f"pid {os.getpid()}"


@task(name="t.talk")
def talk(lines: int, go: str | None = None) -> None:
    """Put out so many lines, once the file `go` is there."""
    progress(0, lines)
    while go and not _there(go):
        time.sleep(0.01)
    for n in range(lines):
        progress.output({"n": n})


@task(name="t.alone", concurrency=1, start_timeout=600.0)
async def alone(marks: str, go: str) -> None:
    """Wait for the file `go`; say when it begins and when it ends."""
    _ran(marks, "begun")
    while not _there(go):
        progress.advance()
        await asyncio.sleep(0.02)
    _ran(marks, "ended")


@task(name="t.forgotten")
async def forgotten(marks: str) -> None:
    """Wait in a thread of the event loop's pool, which nobody can stop."""
    _ran(marks)
    await asyncio.to_thread(time.sleep, FOREVER)


@task(name="t.order")
async def order(marks: str, name: str) -> None:
    """Write a line: the test reads in which order jobs began."""
    _ran(marks, name)
