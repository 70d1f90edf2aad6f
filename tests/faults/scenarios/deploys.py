"""Workers that are asked to leave while they work, one or all, and the release that follows them."""

from __future__ import annotations

import signal

from tests.faults.readers import Submitted
from tests.faults.rounds import Round
from tests.support.process import Process


async def _load(r: Round, count: int) -> list[Submitted]:
    return await r.mixed(count, 0.1, 1.5, spared=True)


async def _leave(r: Round, *workers: Process) -> None:
    for worker in workers:
        worker.send(signal.SIGTERM)


async def _left(r: Round, *workers: Process) -> None:
    for worker in workers:
        if (code := await r.house.gone(worker)) != 0:
            raise AssertionError(f"{worker.name} left with {code}; it said:\n{worker.output()}")


async def term(r: Round) -> None:
    """SIGTERM to one worker: its jobs finish or are handed back, and use no attempt."""
    jobs = await _load(r, 6)
    worker = await r.holder(r.chance.choice(jobs[:3]))
    await r.moment()
    await _leave(r, worker)
    await _left(r, worker)


async def term_twice(r: Round) -> None:
    """A second SIGTERM hastens the first."""
    jobs = await _load(r, 6)
    worker = await r.holder(r.chance.choice(jobs[:3]))
    await _leave(r, worker)
    await r.moment(0, 0.2)
    if worker.alive:
        await _leave(r, worker)
    await _left(r, worker)


async def deploy_rolling(r: Round) -> None:
    """One worker after the other is replaced, under load."""
    await _load(r, 4)
    for worker in list(r.house.crew)[:2]:
        new = r.house.hire()
        await _load(r, 2)
        await r.house.there(new)
        await _leave(r, worker)
        await _load(r, 1)
        await _left(r, worker)


async def deploy_at_once(r: Round) -> None:
    """All workers leave at the same time and new ones start: no job is lost, no attempt used."""
    await _load(r, 6)
    await r.moment()
    old = list(r.house.crew)
    await _leave(r, *old)
    new = [r.house.hire(), r.house.hire(queues="wired,default")]
    await _load(r, 3)
    await _left(r, *old)
    await r.house.there(*new)


async def unknown_task(r: Round) -> None:
    """A job of the next release waits for a worker that knows it, for as long as it was told to; then it expires."""
    pioneer = r.house.hire("tests.faults.tasks", "tests.faults.newer", queues="elsewhere")
    await r.house.there(pioneer)  # now the task is known, and nobody who runs it listens
    await r.house.let_go(pioneer)
    comes = r.chance.random() < 0.5
    wait = {"start_timeout_seconds": 40.0 if comes else round(r.chance.uniform(1.0, 3.0), 2)}
    ends = {"succeeded" if comes else "expired"}
    jobs = [await r.submit("f.newer", allowed=ends, spared=True, options=wait) for _ in range(2)]
    await _load(r, 2)
    if comes:
        await r.moment(0, 3)
        new = r.house.hire("tests.faults.tasks", "tests.faults.newer")
        await r.until(lambda: all(job.status == "succeeded" for job in jobs), "the new worker runs them")
        await r.house.let_go(new)
    await r.ended()


SCENARIOS = (term, term_twice, deploy_rolling, deploy_at_once, unknown_task)
