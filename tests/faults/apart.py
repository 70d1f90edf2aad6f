"""Tasks in processes of their own, some of which end badly. Workers with such tasks start a fork server."""

from __future__ import annotations

import os
import signal
import time
from typing import Literal

from milepost import progress, task
from tests.faults import witness
from tests.faults.tasks import BEAT_SECONDS, beats_in, runs_so_far, witnessed

LIMIT_MB = 400
PIECE_BYTES = 20 << 20


@task(name="f.process", process=True, backoff=0.0)
def process(job: str, seconds: float) -> str:
    """Report and wait, as a good task does."""
    with witnessed(job) as account:
        for beat in range(beats := beats_in(seconds)):
            account.report(beat, beats)
            time.sleep(BEAT_SECONDS)
    return account.digest


@task(name="f.process_dies", process=True, backoff=0.0, memory_limit_mb=LIMIT_MB)
def process_dies(job: str, seconds: float, how: Literal["exit", "signal", "memory"], times: int) -> str:
    """End its own process, so many times."""
    with witnessed(job) as account:
        account.report(0, 1)
        time.sleep(seconds)
        if len(runs_so_far(job)) <= times:
            witness.say("gone", job, account.token)
            _die(how)
    return account.digest


def _die(how: str) -> None:
    if how == "exit":
        os._exit(3)
    if how == "signal":
        os.kill(os.getpid(), signal.SIGKILL)
    hoard = []
    while True:  # until it is refused more, or killed
        hoard.append(bytearray(os.urandom(1) * PIECE_BYTES))
        progress(len(hoard))
        time.sleep(0.01)
