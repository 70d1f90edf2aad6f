"""Tasks for tests of the whole: `milepost worker tests.support.tasks.played`."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from milepost import progress, task


@task(name="test.say")
async def say(texts: list[str], repeat: int = 1) -> list[Any]:
    """Log each text and hand it out, repeated, and return all of them."""
    for text in texts:
        progress.log(text * repeat)
        progress.output(text * repeat)
    return [text * repeat for text in texts] if repeat == 1 else []


@task(name="test.surrogates")
async def surrogates() -> str:
    """Say what JSON can hold escaped and UTF-8 cannot."""
    progress.log("\ud800 lone \udfff")
    progress.output("\udbff")
    return "\udc00"


@task(name="test.report")
async def report(number: str) -> None:
    """Report a number that may be none."""
    progress(float(number), 10)


@task(name="test.count", max_attempts=3)
async def count(steps: int, delay_seconds: float) -> int:
    """Log every step of every attempt."""
    for step in range(steps):
        progress(step, steps)
        progress.log(f"step {step}")
        await asyncio.sleep(delay_seconds)
    return steps


@task(name="test.count_until", max_attempts=3)
async def count_until(file: str, delay_seconds: float) -> int:
    """Log a step again and again until the file is there: the test says how long that is."""
    step = 0
    while not Path(file).exists():  # noqa: ASYNC240 - one look at a local file
        progress(step)
        progress.log(f"step {step}")
        step += 1
        await asyncio.sleep(delay_seconds)
    return step
