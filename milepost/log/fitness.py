"""Whether a Redis is set up to keep jobs: what INFO says of it, held against what Milepost needs."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import structlog
from redis.asyncio import Redis
from redis.exceptions import RedisError

from milepost.log.rights import refused_calls
from milepost.redis import UNREACHABLE

log = structlog.get_logger("milepost.redis")

OLDEST = (7, 0)
EVERY_SECONDS = 15.0
"""How often a process looks again: it may speak to another server since, or the same with another configuration."""


def advice(info: Mapping[str, Any], saves: str | None) -> dict[str, str]:
    """Return what is wrong, by the name of the log line, each with what to do about it.

    `info` is the answer to INFO; `saves` what CONFIG GET save says, None where we may not ask. Nothing is said of what
    cannot be known.
    """
    found = {
        "redis.evicts": _evicts(info),
        "redis.forgets": _forgets(info, saves),
        "redis.is_old": _old(info),
        "redis.is_a_replica": _replica(info),
        "redis.is_a_cluster": _cluster(info),
    }
    return {name: sentence for name, sentence in found.items() if sentence}


def _evicts(info: Mapping[str, Any]) -> str:
    policy = str(info.get("maxmemory_policy", "noeviction"))
    if policy == "noeviction" or not int(info.get("maxmemory", 0)):
        return ""  # without a limit nothing is ever evicted
    if policy.startswith("volatile-"):
        lost = (
            "events and results of finished jobs, long before MILEPOST_REDIS_RETENTION_SECONDS, and what a worker was "
            "given and has not read, which then counts as an attempt"
        )
    else:
        lost = "any key, live jobs and queues among them"
    return (
        f"maxmemory-policy is {policy}: when its memory is full, Redis throws away {lost}. "
        "Set it to noeviction: what is refused is tried again."
    )


def _forgets(info: Mapping[str, Any], saves: str | None) -> str:
    if saves != "" or info.get("aof_enabled") != 0:
        return ""
    return (
        "Neither an append-only file nor snapshots are on: a restart of Redis begins every job anew that is not done. "
        "Set appendonly to yes."
    )


def _old(info: Mapping[str, Any]) -> str:
    found = re.match(
        r"(\d+)\.(\d+)", str(info.get("redis_version", ""))
    )  # Valkey's says what it is compatible with
    if not found or (int(found[1]), int(found[2])) >= OLDEST:
        return ""
    return f"Redis {info['redis_version']} is older than 7.0, the oldest that is supported. Upgrade it."


def _replica(info: Mapping[str, Any]) -> str:
    if info.get("role") != "slave":
        return ""
    return (
        f"This Redis is a replica of {info.get('master_host')}:{info.get('master_port')} and takes no writes. "
        "Name the master in MILEPOST_REDIS_URL, or the Sentinels that know it."
    )


def _cluster(info: Mapping[str, Any]) -> str:
    if info.get("cluster_enabled") != 1:
        return ""
    return (
        "This Redis is a cluster, which keeps keys apart that Milepost changes together. Use one without cluster mode; "
        "Sentinels make it highly available."
    )


class Fitness:
    """Says in the log what is wrong with the Redis that is spoken to: once for each server, and when it changes."""

    def __init__(self, redis: Redis, *, sleep: Callable[[float], Awaitable[None]] = asyncio.sleep) -> None:
        self._redis, self._sleep = redis, sleep
        self._server = ""
        self._said: Mapping[str, str] = {}

    async def run(self) -> None:
        """Look for ever. What is away is not fit, and others say so."""
        while True:
            try:
                await self.round()
            except (RedisError, *UNREACHABLE) as error:
                log.debug("redis.fitness_unknown", error=str(error))
            await self._sleep(EVERY_SECONDS)

    async def round(self) -> None:
        """Look once."""
        info = await self._redis.info()
        server = str(info.get("run_id", ""))
        found = advice(info, await _saves(self._redis))
        for name, sentence in found.items():
            if server != self._server or self._said.get(name) != sentence:
                log.warning(name, advice=sentence, redis_port=info.get("tcp_port"))
        self._server, self._said = server, found


async def _saves(redis: Redis) -> str | None:
    """Return what `save` is set to, None where that is nobody's business: a managed Redis, a user without the right.

    Whether we may is asked first: a refusal would stand in the ACL log of the server, every time.
    """
    try:
        if await refused_calls(redis, ("CONFIG GET save",)):
            return None
        return str((await redis.config_get("save")).get("save", ""))
    except UNREACHABLE:
        raise
    except RedisError:
        return None
