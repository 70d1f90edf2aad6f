"""Workers that die, freeze, or are ended by their own tasks; tasks that block the event loop."""

from __future__ import annotations

from tests.faults.house import LEASE_SECONDS, SILENCE_SECONDS
from tests.faults.rounds import Round

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


SCENARIOS = (kill, freeze, freeze_short, exit_process, exit_task, block, block_far)
"""To come with process tasks: `os._exit` and running out of memory in one, which cost the worker nothing."""
