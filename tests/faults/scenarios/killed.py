"""The API killed at every named point, under load. The other one takes over; the dead one is started again."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from functools import partial

from tests.faults.doom import arm, is_armed
from tests.faults.house import LEASE_SECONDS
from tests.faults.kinds import PAIR
from tests.faults.records import age, have_gone
from tests.faults.rounds import Round
from tests.faults.work import at_work
from tests.support.wait import eventually

HOUSE = PAIR
OLD = 4  # jobs, which are more than one batch there
LOST = frozenset({"succeeded", "failed:worker_lost"})


async def _die_at(r: Round, *points: str, most: int = 1) -> None:
    """Wait until some API has died at each of the points, one after the other; the dead one rises meanwhile."""
    for point in points:
        arm(r.house.doom, point, r.chance.randint(1, most))
        await r.until(lambda point=point: not is_armed(r.house.doom, point), f"an API passes {point}")  # type: ignore[misc]
        await r.moment(0, 0.3)
        r.house.revive_apis()


async def api_killed_submitting(r: Round) -> None:
    """Between request, commit, Redis and answer: what was accepted runs once, what was not is asked again."""
    async with at_work(r):
        await _die_at(r, *KILLED_AT["api_killed_submitting"], most=3)


async def api_killed_dispatching(r: Round) -> None:
    """After a commit, and again and again while the job is brought to Redis in its place."""
    async with at_work(r, watched=False):
        await _die_at(r, "submit-committed", "dispatch-found", "dispatch-created")
        await _die_at(r, "submit-committed", "dispatch-marked")


async def api_killed_recording(r: Round) -> None:
    """With a batch read, written, committed or acknowledged: every event is recorded, and once."""
    async with at_work(r):
        await _die_at(r, *KILLED_AT["api_killed_recording"], most=3)


async def api_killed_caretaking(r: Round) -> None:
    """While it takes leases of a dead worker away, or ends jobs that nobody began: another one goes on with it."""
    nobody = {"queue": "nobody", "start_timeout_seconds": 1.0}
    async with at_work(r, allowed=LOST, spared=False):
        for _ in range(4):
            await r.submit(seconds=0.1, allowed={"expired"}, options=nobody)
        await _die_at(r, "expire-found", "expire-ended")
        for point in ("lapse-found", "lapse-taken"):
            jobs = [await r.submit(seconds=LEASE_SECONDS, options={"queue": "wired"}) for _ in range(3)]
            worker = await r.holder(jobs[0])
            await r.house.kill(worker)
            r.house.hire(queues="wired,default")
            await _die_at(r, point)


async def api_killed_recovering(r: Round) -> None:
    """While what Redis has lost is brought back to it: all of it comes back."""
    async with at_work(r, spared=False):
        for point in KILLED_AT["api_killed_recovering"]:
            await r.moment(0.2, 0.5)
            arm(r.house.doom, point, 1)
            with r.house.redis.client() as client:
                client.flushall()
            r.house.lost_data()
            await _die_at(r, point)


async def api_killed_streaming(r: Round) -> None:
    """With an `end` in its hand that it has not written: the reader gets it elsewhere, once."""
    async with at_work(r):
        for _ in range(3):
            await _die_at(r, "stream-end", most=4)


async def api_killed_retaining(r: Round) -> None:
    """While records of long ago are removed: the old ones go, all of them, and no other."""
    async with at_work(r):
        for number, point in enumerate(KILLED_AT["api_killed_retaining"]):
            old = [
                await r.client.submit("f.work", {"job": f"{r.name}#old-{number}-{one}", "seconds": 0.05})
                for one in range(OLD)
            ]
            for job in old:
                await r.client.wait(job.id)
            where = r.house.database_url, [job.id for job in old]
            dying = asyncio.create_task(_die_at(r, point))
            await eventually(partial(age, *where), "they are recorded, and aged")
            await dying
            await eventually(partial(have_gone, *where), "they are removed")


KILLED_AT: Mapping[str, tuple[str, ...]] = {
    "api_killed_submitting": ("submit-uncommitted", "submit-committed", "submit-created"),
    "api_killed_dispatching": ("submit-committed", "dispatch-found", "dispatch-created", "dispatch-marked"),
    "api_killed_recording": ("record-read", "record-uncommitted", "record-committed", "record-acknowledged"),
    "api_killed_caretaking": ("expire-found", "expire-ended", "lapse-found", "lapse-taken"),
    "api_killed_recovering": ("recover-noticed", "recover-bringing", "recover-brought"),
    "api_killed_retaining": ("retain-uncommitted", "retain-committed"),
    "api_killed_streaming": ("stream-end",),
}

SCENARIOS = (
    api_killed_submitting,
    api_killed_dispatching,
    api_killed_recording,
    api_killed_caretaking,
    api_killed_recovering,
    api_killed_retaining,
    api_killed_streaming,
)
