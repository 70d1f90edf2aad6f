"""All of it at once, in random order. Only the laws that hold always are asked of it."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Awaitable, Callable

from tests.faults.house import LEASE_SECONDS
from tests.faults.rounds import Round

ANY_END = frozenset({"succeeded", "failed:worker_lost", "cancelled"})


async def _kill(r: Round) -> None:
    await r.house.kill(r.chance.choice(r.house.crew))
    r.house.hire()


async def _freeze(r: Round) -> None:
    worker = r.chance.choice(r.house.crew)
    r.house.freeze(worker)
    await r.moment(0.2, LEASE_SECONDS * 1.5)
    if worker.alive:
        r.house.thaw(worker)


async def _term(r: Round) -> None:
    worker = r.chance.choice(r.house.crew)
    worker.send(signal.SIGTERM)
    r.house.hire()
    await r.house.gone(worker)


async def _restart_redis(r: Round) -> None:
    await r.house.stop_redis(r.chance.choice([signal.SIGTERM, signal.SIGKILL]))
    await r.moment(0, 0.5)
    await r.house.start_redis()


async def _pause_redis(r: Round) -> None:
    r.house.pause_redis()
    await r.moment(0.2, LEASE_SECONDS * 1.5)
    r.house.resume_redis()


async def _kill_api(r: Round) -> None:
    r.house.api.kill()
    await r.house.restart_api()


async def _cut(r: Round) -> None:
    r.house.proxy.drop_all()


async def _cancel(r: Round) -> None:
    accepted = [job for job in r.jobs if job.id]  # another is being submitted
    await r.cancel(r.chance.choice(accepted))


FAULTS: tuple[Callable[[Round], Awaitable[None]], ...] = (
    *(_kill, _freeze, _term, _restart_redis, _pause_redis, _kill_api, _cut, _cancel, _cancel),
)


async def storm(r: Round) -> None:
    """Jobs keep coming while one thing after the other goes wrong."""

    async def submit() -> None:
        for _ in range(8):
            queue = {"queue": r.chance.choice(["default", "wired"])}
            await r.mixed(1, 0.1, 1.2, allowed=ANY_END, options=queue)
            await asyncio.sleep(0.15)

    submitting = asyncio.create_task(submit())
    try:
        await r.until(lambda: r.jobs and r.jobs[0].id, "the first job is accepted")
        for fault in r.chance.sample(FAULTS, 3):
            await r.moment(0, 0.4)
            await fault(r)
    finally:
        await submitting


SCENARIOS = (storm,)
