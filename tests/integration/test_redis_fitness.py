"""A Redis that would lose jobs is complained of, by the API and by the worker."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis
from structlog.testing import capture_logs

from milepost.log.fitness import Fitness
from milepost.redis import connect
from tests.support.redis import RedisServer, every_redis
from tests.support.stack import Stack
from tests.support.wait import eventually

Start = Callable[..., Awaitable[Stack]]
EVICTING: dict[str, Any] = {"maxmemory": "100mb", "maxmemory-policy": "volatile-lru"}


async def said_by(fitness: Fitness) -> list[str]:
    with capture_logs() as lines:
        await fitness.round()
    return [line["event"] for line in lines]


@pytest.fixture
async def unfit(tmp_path: Path) -> RedisServer:
    return RedisServer(tmp_path / "unfit", appendonly=False, **EVICTING)


async def test_api_and_worker_say_it_when_they_start(stack: Start, unfit: RedisServer) -> None:
    """In one line each, with what to do."""
    with unfit:
        running = await stack(redis=unfit)
        for process in (*running.apis, *running.workers):

            def complains(process=process) -> bool:
                output = process.output()
                return "redis.evicts" in output and "redis.forgets" in output and "noeviction" in output

            await eventually(complains, f"{process.name} complains")


@every_redis
async def test_a_fit_redis_is_not_complained_of(redis: Redis) -> None:
    """The one of the tests has an append-only file and no limit."""
    assert await said_by(Fitness(redis)) == []


async def test_it_is_said_once_and_again_when_it_changes(unfit: RedisServer) -> None:
    """Not in every round; but of another server, or of the same with another configuration."""
    with unfit:
        async with connect(unfit.url) as redis:
            fitness = Fitness(redis)
            assert await said_by(fitness) == ["redis.evicts", "redis.forgets"]
            assert await said_by(fitness) == []
            await redis.config_set("maxmemory-policy", "allkeys-lru")
            assert await said_by(fitness) == ["redis.evicts"]
            await redis.config_set("maxmemory-policy", "noeviction")
            assert await said_by(fitness) == []
            unfit.restart()
            assert await said_by(fitness) == ["redis.evicts", "redis.forgets"]


async def test_a_user_who_may_not_ask_is_told_nothing_of_it(unfit: RedisServer) -> None:
    """And the ACL log of the server stays empty."""
    with unfit, unfit.client() as admin:
        admin.execute_command("ACL", "SETUSER", "modest", "on", ">pw", "~*", "&*", "+@all", "-config")
        async with connect(unfit.url.replace("redis://", "redis://modest:pw@")) as redis:
            assert await said_by(Fitness(redis)) == ["redis.evicts"]
        assert admin.acl_log() == []
