"""What the hub reads for many at once: what befalls one is no matter of the others, and nobody waits behind a queue."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest
from redis.asyncio import Redis

from milepost.codec import Cursor
from milepost.errors import StoreUnavailable
from milepost.log import JobLog, View
from milepost.log.keys import events_key, state_key
from milepost.redis import connect
from tests.support.hub import PATIENT, hub_on
from tests.support.jobs import PlayedJob
from tests.support.proxy import TcpProxy
from tests.support.redis import RedisServer


@pytest.mark.parametrize("spoil", ["state", "type"])
async def test_a_job_that_cannot_be_read_spoils_it_for_no_other(
    redis_server: RedisServer, redis: Redis, joblog: JobLog, spoil: str
) -> None:
    """They are read in one round trip; those that ask for it next are served, too."""
    good, bad = [await PlayedJob.running(joblog) for _ in range(2)]
    if spoil == "state":
        await redis.hset(state_key(bad.id), "progress", "{")  # type: ignore[misc]
    else:
        await redis.delete(events_key(bad.id))
        await redis.set(events_key(bad.id), "no stream")
    async with hub_on(redis_server.url, joblog) as hub:
        answers = await asyncio.gather(
            *(hub.read(job.id) for job in (bad, good)),
            hub.read(good.id, Cursor("e", 1)),
            return_exceptions=True,
        )
        assert isinstance(answers[0], Exception)
        assert [isinstance(answer, View) for answer in answers] == [False, True, True]
        assert (await hub.read(good.id)).job.id == good.id


async def test_nobody_waits_for_redis_behind_those_who_wait_for_it(redis_server: RedisServer) -> None:
    """A thousand reads go 20 at a time; while Redis is frozen the last of them fails with the first."""
    async with TcpProxy(redis_server.url) as proxy, connect(proxy.url) as redis:
        joblog = JobLog(redis)
        job = await PlayedJob.running(joblog)
        async with hub_on(proxy.url, joblog, times=replace(PATIENT, answer=1)) as hub:
            await hub.read(job.id)
            proxy.blackhole()
            asked = (hub.read(job.id, Cursor("e", seq)) for seq in range(1000))
            async with asyncio.timeout(20):  # of the 50 that 50 round trips would take
                answers = await asyncio.gather(*asked, return_exceptions=True)
            proxy.restore()
    assert {type(one) for one in answers} == {StoreUnavailable}
