"""What the workers of the fault suite run: `milepost worker tests.faults.tasks`. Every run has a witness."""

from __future__ import annotations

import asyncio
import os
import secrets
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

from milepost import Retry, progress, task
from tests.faults import witness

BEAT_SECONDS = 0.06

# Inherited by the processes that a worker starts for its tasks: what they do, the worker answers for.
os.environ.setdefault(witness.WORKER_VARIABLE, str(os.getpid()))


@contextmanager
def witnessed(job: str) -> Iterator[str]:
    """Say when it begins and ends, however it ends."""
    token = secrets.token_hex(6)
    witness.say("start", job, token)
    try:
        yield token
    finally:
        witness.say("stop", job, token)


def report(token: str, beat: int, beats: int) -> None:
    """Say who speaks: the law of the fence compares it with who has the job."""
    progress.output({"pid": witness.worker_pid(), "run": token, "beat": beat})
    progress(beat, beats)


def beats_in(seconds: float) -> int:
    return max(1, round(seconds / BEAT_SECONDS))


@task(name="f.work", backoff=0.0)
async def work(job: str, seconds: float) -> str:
    """Report and wait, as a good async task does."""
    with witnessed(job) as token:
        for beat in range(beats := beats_in(seconds)):
            report(token, beat, beats)
            await asyncio.sleep(BEAT_SECONDS)
    return token


@task(name="f.thread", backoff=0.0)
def thread(job: str, seconds: float) -> str:
    """The same in a thread, which hears of a stop at its next report."""
    with witnessed(job) as token:
        for beat in range(beats := beats_in(seconds)):
            report(token, beat, beats)
            time.sleep(BEAT_SECONDS)
    return token


@task(name="f.block", backoff=0.0)
async def block(job: str, after: float, seconds: float) -> str:
    """What an async task must not do: hold the event loop, from some moment on."""
    with witnessed(job) as token:
        await asyncio.sleep(after)
        for beat in range(beats := beats_in(seconds)):
            report(token, beat, beats)
            time.sleep(BEAT_SECONDS)  # noqa: ASYNC251 - the very point
    return token


@task(name="f.again", backoff=0.0)
async def again(job: str, after: float, times: int) -> str:
    """Ask for another attempt so many times, each `after` seconds later."""
    with witnessed(job) as token:
        report(token, 0, 1)
        await asyncio.sleep(BEAT_SECONDS)
        if len(runs_so_far(job)) <= times:
            raise Retry(after=after)
    return token


@task(name="f.exit", backoff=0.0)
async def exit_(job: str, seconds: float, how: Literal["os", "sys"]) -> str:
    """End the whole process, or try to, in the first run."""
    with witnessed(job) as token:
        report(token, 0, 1)
        await asyncio.sleep(seconds)
        _leave(job, token, how)
    return token


@task(name="f.exit_thread", backoff=0.0)
def exit_thread(job: str, seconds: float, how: Literal["os", "sys"]) -> str:
    """The same from a thread."""
    with witnessed(job) as token:
        report(token, 0, 1)
        time.sleep(seconds)
        _leave(job, token, how)
    return token


def _leave(job: str, token: str, how: str) -> None:
    if how == "sys":
        sys.exit(3)
    if not any(run.exits for run in runs_so_far(job)):
        witness.say("exit", job, token)
        os._exit(3)


def runs_so_far(job: str) -> list[witness.Run]:
    """Return the runs of this job, its present one included."""
    text = Path(os.environ[witness.PATH_VARIABLE]).read_text()
    return witness.runs_of(witness.lines_of(text)).get(job, [])
