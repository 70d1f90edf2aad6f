"""Redis killed, frozen, flushed and failing under load, with two APIs: nobody's job or stream is the worse for it."""

from __future__ import annotations

import signal

from tests.faults.house import LEASE_SECONDS
from tests.faults.kinds import PAIR
from tests.faults.rounds import Round
from tests.faults.work import at_work

HOUSE = PAIR
LONG_PAUSE_SECONDS = 30.0
"""Redis is frozen for so long in the long run; in the short one for two leases, which are short there."""


async def work_redis_killed(r: Round) -> None:
    """`kill -9`, and back after a while: what the kernel had is there again, no attempt is used."""
    async with at_work(r):
        await r.moment(0.3, 1.0)
        await r.house.stop_redis(signal.SIGKILL)
        await r.moment(0, 1.5)
        await r.house.start_redis()


async def work_redis_frozen(r: Round) -> None:
    """For longer than any lease and most patience: requests are refused with a sentence, and then all goes on."""
    async with at_work(r):
        await r.moment(0.3, 1.0)
        r.house.pause_redis()
        seconds = LONG_PAUSE_SECONDS if r.long else LEASE_SECONDS * 2
        await r.moment(seconds, seconds + 1)
        r.house.resume_redis()


async def work_redis_flushed(r: Round) -> None:
    """FLUSHALL: what waited runs, what ran is tried again, what had ended stays ended."""
    async with at_work(r, spared=False):
        await r.moment(0.3, 1.5)
        with r.house.redis.client() as client:
            client.flushall()
        r.house.lost_data()


SCENARIOS = (work_redis_killed, work_redis_frozen, work_redis_flushed)
