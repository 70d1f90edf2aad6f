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


class Account:
    """What one run says. Its digest runs over all of it: whatever is lost, doubled or mixed up shows."""

    def __init__(self, token: str) -> None:
        self.token = self.digest = token

    def report(self, beat: int, beats: int) -> None:
        """Say who speaks: the law of the fence compares it with who has the job."""
        self.digest = witness.after(self.digest, beat)
        said = {"pid": witness.worker_pid(), "run": self.token, "beat": beat, "digest": self.digest}
        progress.output(said)
        progress(beat, beats)


@contextmanager
def witnessed(job: str) -> Iterator[Account]:
    """Say when it begins and ends, however it ends, and what it came to."""
    account = Account(secrets.token_hex(6))
    witness.say("start", job, account.token)
    try:
        yield account
    finally:
        witness.say("stop", job, account.token, account.digest)


def beats_in(seconds: float) -> int:
    return max(1, round(seconds / BEAT_SECONDS))


@task(name="f.work", backoff=0.0)
async def work(job: str, seconds: float) -> str:
    """Report and wait, as a good async task does."""
    with witnessed(job) as account:
        for beat in range(beats := beats_in(seconds)):
            account.report(beat, beats)
            await asyncio.sleep(BEAT_SECONDS)
    return account.digest


@task(name="f.thread", backoff=0.0)
def thread(job: str, seconds: float) -> str:
    """The same in a thread, which hears of a stop at its next report."""
    with witnessed(job) as account:
        for beat in range(beats := beats_in(seconds)):
            account.report(beat, beats)
            time.sleep(BEAT_SECONDS)
    return account.digest


@task(name="f.block", backoff=0.0)
async def block(job: str, after: float, seconds: float) -> str:
    """What an async task must not do: hold the event loop, from some moment on."""
    with witnessed(job) as account:
        await asyncio.sleep(after)
        for beat in range(beats := beats_in(seconds)):
            account.report(beat, beats)
            time.sleep(BEAT_SECONDS)  # noqa: ASYNC251 - the very point
    return account.digest


@task(name="f.steps", backoff=0.0)
async def steps(job: str, seconds: float) -> str:
    """The same in two steps, with words in between."""
    with witnessed(job) as account:
        beats = 2 * beats_in(seconds / 2)
        for half, name in enumerate(("first", "second")):
            with progress.step(name):
                progress.log(f"the {name} half")
                for beat in range(half * beats // 2, (half + 1) * beats // 2):
                    account.report(beat, beats)
                    await asyncio.sleep(BEAT_SECONDS)
    return account.digest


@task(name="f.again", backoff=0.0)
async def again(job: str, after: float, times: int) -> str:
    """Ask for another attempt so many times, each `after` seconds later."""
    with witnessed(job) as account:
        account.report(0, 1)
        await asyncio.sleep(BEAT_SECONDS)
        if len(runs_so_far(job)) <= times:
            raise Retry(after=after)
    return account.digest


@task(name="f.exit", backoff=0.0)
async def exit_(job: str, seconds: float, how: Literal["os", "sys"]) -> str:
    """End the whole process, or try to, in the first run."""
    with witnessed(job) as account:
        account.report(0, 1)
        await asyncio.sleep(seconds)
        _leave(job, account.token, how)
    return account.digest


@task(name="f.exit_thread", backoff=0.0)
def exit_thread(job: str, seconds: float, how: Literal["os", "sys"]) -> str:
    """The same from a thread."""
    with witnessed(job) as account:
        account.report(0, 1)
        time.sleep(seconds)
        _leave(job, account.token, how)
    return account.digest


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
