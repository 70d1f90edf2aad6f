"""Workers that die, freeze, or are ended by their own tasks; tasks that block the event loop."""

from __future__ import annotations

from typing import Any

from tests.faults.house import LEASE_SECONDS, SILENCE_SECONDS
from tests.faults.rounds import Round
from tests.support.process import Process

LOST = frozenset({"succeeded", "failed:worker_lost"})
ONCE = {"max_attempts": 1}


async def kill(r: Round) -> None:
    """`kill -9`: what it ran runs elsewhere, or fails where no attempt is left."""
    jobs = await r.mixed(4, 0.3, 1.2)
    jobs += await r.mixed(1, 0.3, 1.2, allowed=LOST, options=ONCE)
    worker = await r.holder(r.chance.choice(jobs))
    await r.moment()
    await r.house.kill(worker)


async def freeze(r: Round) -> None:
    """Stopped for longer than its lease and continued: nothing that the zombie says is taken."""
    jobs = await r.mixed(4, 0.5, 1.5)
    jobs += await r.mixed(1, 0.5, 1.5, allowed=LOST, options=ONCE)
    first = r.chance.choice(jobs)
    worker = await r.holder(first)
    await r.moment()
    r.house.freeze(worker)
    await r.moment(LEASE_SECONDS + 0.5, LEASE_SECONDS + 2.5)
    r.house.thaw(worker)


async def freeze_short(r: Round) -> None:
    """Stopped for less than its lease: nothing happens, but perhaps a `stalled`."""
    jobs = await r.mixed(4, 0.5, 1.5, spared=True)
    worker = await r.holder(r.chance.choice(jobs))
    await r.moment()
    r.house.freeze(worker)
    await r.moment(0.1, SILENCE_SECONDS)
    r.house.thaw(worker)


async def exit_process(r: Round) -> None:
    """`os._exit` in a task takes the worker along, and all its jobs go on elsewhere."""
    await r.mixed(3, 0.3, 1.2)
    task = r.chance.choice(["f.exit", "f.exit_thread"])
    job = await r.submit(task, seconds=round(r.chance.uniform(0, 0.4), 2), how="os")
    worker = await r.holder(job)
    await r.house.gone(worker)


async def exit_task(r: Round) -> None:
    """`sys.exit` in a task ends its job, and neither the worker nor its other jobs."""
    await r.mixed(3, 0.3, 0.8, spared=True)
    task = r.chance.choice(["f.exit", "f.exit_thread"])
    await r.submit(
        task,
        seconds=round(r.chance.uniform(0, 0.4), 2),
        how="sys",
        allowed={"failed:exception"},
        spared=True,
    )


async def block(r: Round) -> None:
    """A bad task holds the event loop for far longer than the lease: no lease is lost, nothing runs twice."""
    await r.mixed(2, 0.3, 0.8, spared=True)
    after = round(r.chance.uniform(0, 0.3), 3)
    await r.submit("f.block", after=after, seconds=2.5 * LEASE_SECONDS, spared=True)
    # Some come at the very moment in which the loop is blocked: taken, and not yet heard of.
    await r.mixed(10, 0.1, 0.3, spared=True)


async def block_far(r: Round) -> None:
    """The same where Redis is some milliseconds away: the loop is blocked while an answer is under way."""
    r.house.proxy.delay_seconds = 0.02
    wired = {"queue": "wired"}
    after = round(r.chance.uniform(0.2, 0.6), 3)
    await r.submit("f.block", after=after, seconds=2.5 * LEASE_SECONDS, spared=True, options=wired)
    await r.mixed(8, 0.1, 0.3, spared=True, options=wired | ONCE)
    await r.ended()


async def _apart(r: Round, count: int) -> list[Process]:
    """Hire workers whose tasks have processes of their own."""
    workers = [r.house.hire("tests.faults.tasks", "tests.faults.apart", queues="apart") for _ in range(count)]
    await r.house.there(*workers)
    return workers


async def _dies(r: Round, how: str) -> None:
    """A task's process dies: the job is tried again, or fails where no attempt is left. Nobody else notices."""
    workers = await _apart(r, 1)
    apart: dict[str, Any] = {"queue": "apart"}
    await r.mixed(2, 0.3, 0.8, spared=True, options=apart)
    await r.submit("f.process", seconds=0.6, spared=True, options=apart)
    dies: dict[str, Any] = {"seconds": round(r.chance.uniform(0, 0.3), 2), "how": how, "times": 1}
    await r.submit("f.process_dies", **dies, options=apart)
    await r.submit("f.process_dies", **dies, options=apart | ONCE, allowed={"failed:exception"})
    await r.ended()
    workers[0].check_alive()
    await r.house.let_go(*workers)


async def process_exit(r: Round) -> None:
    """`os._exit` and a fatal signal in a process task are a failed attempt and not a dead worker."""
    await _dies(r, r.chance.choice(["exit", "signal"]))


async def process_memory(r: Round) -> None:
    """So is more memory than it may have."""
    await _dies(r, "memory")


async def process_orphan(r: Round) -> None:
    """`kill -9` of a worker with process tasks: the processes do not outlive it, their jobs run elsewhere."""
    workers = await _apart(r, 2)
    apart: dict[str, Any] = {"queue": "apart"}
    jobs = [
        await r.submit("f.process", seconds=round(r.chance.uniform(0.5, 3.0), 2), options=apart)
        for _ in range(4)
    ]
    worker = await r.holder(r.chance.choice(jobs))
    await r.moment()
    await r.house.kill(worker)
    await r.ended()
    await r.house.let_go(*(one for one in workers if one is not worker))


SCENARIOS = (
    *(kill, freeze, freeze_short, exit_process, exit_task, block, block_far),
    *(process_exit, process_memory, process_orphan),
)
