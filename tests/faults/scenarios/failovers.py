"""Redis fails over to its replica under load: what the new master has not heard is lost, and readers hear of it."""

from __future__ import annotations

from tests.faults.failover import FailingOver
from tests.faults.kinds import SENTINELS
from tests.faults.rounds import Round
from tests.faults.work import at_work

HOUSE = SENTINELS
DIES = frozenset({"succeeded", "failed:worker_lost"})


async def failover_lost_tail(r: Round) -> None:
    """The master dies with its last words: they are another epoch, a gap and a snapshot to who had heard them."""
    redis = r.house.redis
    assert isinstance(redis, FailingOver)
    async with at_work(r, allowed=DIES, spared=False):
        await r.moment(0.5, 1.0)
        async with r.house.losing():
            await redis.lose_tail(r.chance.uniform(0.2, 0.6))
        await redis.whole()


async def failover_asked(r: Round) -> None:
    """By an operator: connections move to the new master, and jobs and streams go on there."""
    redis = r.house.redis
    assert isinstance(redis, FailingOver)
    async with at_work(r, allowed=DIES, spared=False):
        await r.moment(0.5, 1.0)
        async with r.house.losing():
            await redis.change_master()


SCENARIOS = (failover_lost_tail, failover_asked)
