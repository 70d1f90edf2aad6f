"""Demonstrations: a job that counts, the same in a thread, and one that never ends by itself."""

from __future__ import annotations

import asyncio
import time
from typing import Annotated, Literal

from annotated_types import Ge, Le
from pydantic import AllowInfNan

from milepost import progress, task

Steps = Annotated[int, Ge(1), Le(1_000_000)]
Delay = Annotated[float, Ge(0), Le(3600), AllowInfNan(False)]


@task(name="demo.count")
async def count(steps: Steps = 20, delay_seconds: Delay = 0.25, fail_at: int | None = None) -> int:
    """Count to `steps`, waiting `delay_seconds` before each; fails at step `fail_at` if given."""
    progress(0, steps, "starting", unit="steps")
    for step in range(1, steps + 1):
        await asyncio.sleep(delay_seconds)
        _fail(step, fail_at)
        progress(step, message=f"step {step} of {steps}")
    return steps


@task(name="demo.blocking")
def blocking(steps: Steps = 20, delay_seconds: Delay = 0.25, fail_at: int | None = None) -> int:
    """The same as demo.count, as a plain function that sleeps: it runs in a thread of its own."""
    progress(0, steps, "starting", unit="steps")
    for step in range(1, steps + 1):
        time.sleep(delay_seconds)
        _fail(step, fail_at)
        progress(step, message=f"step {step} of {steps}")
    return steps


def _fail(step: int, fail_at: int | None) -> None:
    if step == fail_at:
        raise RuntimeError(f"asked to fail at step {fail_at}")


START_PRICE = {"ACME": 100.0, "GLOBEX": 250.0, "INITECH": 42.0}


@task(name="demo.ticker")
async def ticker(symbol: Literal["ACME", "GLOBEX", "INITECH"], interval_seconds: Delay = 1.0) -> None:
    """Report a made-up price every `interval_seconds` until cancelled."""
    price, tick = START_PRICE[symbol], 0
    while True:
        # A fixed sequence (Park and Miller's generator): a demonstration should look the same twice.
        drift = (48271 * (tick + 1) % 2147483647) % 201 - 100
        price = max(1.0, price + drift / 100)
        progress(tick, message=f"{symbol} {price:.2f}", unit="ticks")
        progress.output({"symbol": symbol, "price": round(price, 2), "tick": tick})
        tick += 1
        await asyncio.sleep(max(0.01, interval_seconds))
