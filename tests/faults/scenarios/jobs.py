"""What people do to jobs at the wrong moment, and jobs that have a moment of their own."""

from __future__ import annotations

import asyncio
import signal

from tests.faults.rounds import Round

ENDS = frozenset({"succeeded", "cancelled"})


async def cancel_race(r: Round) -> None:
    """A cancel races with the pick-up: who is told `cancelled` may rely on it."""
    for _ in range(8):
        job = await r.submit(r.chance.choice(["f.work", "f.thread"]), seconds=0.3, allowed=ENDS, spared=True)
        await r.moment(0, 0.02)
        await r.cancel(job)


async def cancel_before_retry(r: Round) -> None:
    """A job that waits for its next attempt is cancelled at once, and the attempt does not come."""
    jobs = [
        await r.submit("f.again", after=round(r.chance.uniform(0.2, 1.0), 2), times=2, allowed=ENDS)
        for _ in range(4)
    ]
    await asyncio.gather(*(r.until(lambda job=job: job.was("retrying"), "it waits") for job in jobs))  # type: ignore[misc]
    await r.moment(0, 0.6)
    for job in jobs:
        await r.cancel(job)


async def due(r: Round) -> None:
    """Delayed jobs and retries keep their time, whoever leaves and comes meanwhile."""
    for _ in range(3):
        after = round(r.chance.uniform(0.3, 1.5), 2)
        await r.submit("f.again", after=after, times=r.chance.randint(1, 2))
        await r.submit(seconds=0.2, spared=True, options={"delay_seconds": after})
    await r.moment()
    worker = r.chance.choice(r.house.crew)
    worker.send(signal.SIGTERM)
    await r.house.gone(worker)


SCENARIOS = (cancel_race, cancel_before_retry, due)
