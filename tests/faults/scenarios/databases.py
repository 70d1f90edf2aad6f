"""PostgreSQL killed and frozen under load: Redis carries what runs, and the records catch up."""

from __future__ import annotations

import asyncio

from tests.faults.doom import SHORTENED
from tests.faults.kinds import POSTGRES
from tests.faults.rounds import Round
from tests.faults.work import at_work

HOUSE = POSTGRES
STATEMENT_SECONDS = SHORTENED["milepost_api.records.engine:STATEMENT_SECONDS"]


async def postgres_killed(r: Round) -> None:
    """`kill -9` of the server, and back after a while: what was committed is there, the rest is recorded."""
    assert r.house.postgres is not None
    async with at_work(r):
        for _ in range(r.chance.randint(1, 2)):
            await r.moment(0.3, 1.0)
            await asyncio.to_thread(r.house.postgres.kill)
            await r.moment(0.1, 2.0)
            await r.house.start_postgres()


async def postgres_frozen(r: Round) -> None:
    """For longer than a statement may take: a connection that says nothing is given up, and none is left over."""
    assert r.house.postgres is not None
    async with at_work(r):
        await r.moment(0.3, 1.0)
        r.house.postgres.pause()
        await r.moment(STATEMENT_SECONDS + 1, STATEMENT_SECONDS * 2)
        r.house.postgres.resume()


SCENARIOS = (postgres_killed, postgres_frozen)
