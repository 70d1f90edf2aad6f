"""Streams of many jobs of two tenants: each sees its own, by whatever way they are selected."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis

from milepost.ids import new_job_id
from tests.support.api import Hand, announce, settings
from tests.support.many import Told, opened, read, read_on
from tests.support.redis import RedisServer
from tests.support.tenants import KEYS, Tenants, serving_tenants

pytestmark = pytest.mark.anyio
ACME, GLOBEX = {"X-API-Key": "acme-key"}, {"X-API-Key": "globex-key"}


@pytest.fixture
async def tenants(tmp_path: Path, redis_server: RedisServer, redis: Redis) -> AsyncIterator[Tenants]:
    await announce(redis)
    async with serving_tenants(
        settings(tmp_path, redis_server.url, api_keys=KEYS, ping_seconds=1)
    ) as running:
        yield running


async def test_a_job_of_another_tenant_is_missing_like_one_that_is_not_there(tenants: Tenants) -> None:
    """Whether it waits, is watched by its owner, or has ended."""
    base, acme = tenants.acme.http.base_url, tenants.acme
    waiting, done = [(await acme.submit())["id"] for _ in range(2)]
    await Hand(acme.services.log).run(done)
    absent = new_job_id()
    async with opened(base, jobs=[waiting], headers=ACME) as stream:
        await read_on(stream, until="snapshot")
        told = await read(base, jobs=[waiting, done, absent], headers=GLOBEX)
    missing = [event for event in told.events if event["type"] == "job_missing"]
    assert {event["job_id"] for event in missing} == {waiting, done, absent}
    assert {event["reason"] for event in missing} == {"unknown"}
    assert told.types()[0] == "selection"
    assert len(told.events) == 5


async def test_a_tag_a_batch_and_the_list_of_all_are_the_callers(tenants: Tenants) -> None:
    """Jobs of others that are there, that come, and that go are not told."""
    base, acme, globex = tenants.acme.http.base_url, tenants.acme, tenants.globex
    hand = Hand(acme.services.log)
    fields = {"tags": ["t"], "batch_id": "b"}
    mine = (await globex.submit(**fields))["id"]
    await acme.submit(**fields)
    queries: list[dict[str, Any]] = [{"tag": "t"}, {"batch": "b"}, {}]
    for query in queries:
        async with opened(base, None, headers=GLOBEX, **query) as stream:
            told = await read_on(stream, until="snapshot")
            acmes = (await acme.submit(**fields))["id"]
            await hand.run(acmes)
            another = (await globex.submit(**fields))["id"]
            await read_on(stream, told, until="snapshot")
            await hand.run(another)
            while told.counts()["job_end"] == 0 or told.events[-1]["job_id"] != another:
                await read_on(stream, told, until="job_end")
            await read_on(stream, told, until="ping")
        owners = {event["job_id"] for event in told.events if "job_id" in event}
        globexs = {job["id"] for job in (await globex.get("/v1/jobs"))["items"]}
        assert {mine, another} <= owners <= globexs


async def test_a_bookmark_is_of_no_use_to_another_tenant(tenants: Tenants) -> None:
    """As if nobody had ever heard of it."""
    base, acme = tenants.acme.http.base_url, tenants.acme
    job_id = (await acme.submit())["id"]
    await Hand(acme.services.log).run(job_id)
    told = await read(base, jobs=[job_id], headers=ACME)
    stolen = await read(base, Told(last_id=told.last_id), jobs=[job_id], headers=GLOBEX)
    assert stolen.types() == ["gap", "selection", "job_missing", "end"]
    assert stolen.events[0]["reason"] == "lost"
