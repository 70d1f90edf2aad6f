"""A house that holds on to something says so: the limits of a house at rest can be passed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from milepost_api.records import JobRecord, JobStore, open_engines

from milepost.log import JobLog
from milepost.log.lifecycle import Lifecycle
from milepost.redis import connect
from milepost.times import utc_now
from tests.faults.baseline import FILES, REDIS_CONNECTIONS, excess
from tests.faults.records import upgrade
from tests.support.joblog import created
from tests.support.process import Process
from tests.support.redis import RedisServer
from tests.support.wait import eventually

HOARDER = """
import socket, sys, time
files = [open("/dev/null") for _ in range({files})]
connections = [socket.create_connection(("127.0.0.1", {port})) for _ in range({connections})]
print("ready", flush=True)
time.sleep(600)
"""


@asynccontextmanager
async def house(folder: Path, redis: RedisServer, files: int = 0, connections: int = 0) -> AsyncIterator[Any]:
    """Yield as much of a house as is looked at; its API holds so many files and connections."""
    url = f"sqlite+aiosqlite:///{folder / 'milepost.db'}"
    await upgrade(url)
    code = HOARDER.format(files=files, port=redis.port, connections=connections)
    with Process.python("api-1", "-c", code, log=folder / "log", settings={}) as api:
        api.wait_until(lambda: "ready" in api.output())
        yield SimpleNamespace(
            stack=SimpleNamespace(apis=[api], urls=[]),
            redis=redis,
            redis_ports={redis.port},
            postgres=None,
            database_url=url,
        )


async def test_a_house_at_rest_has_nothing_to_say(tmp_path: Path, redis_server: RedisServer) -> None:
    """Nothing is found where nothing is held."""
    async with house(tmp_path, redis_server) as resting:
        assert await excess(resting) == []


async def test_files_and_connections_that_are_kept_are_told(
    tmp_path: Path, redis_server: RedisServer
) -> None:
    """By their number, and whose they are."""
    files, connections = FILES + 1, REDIS_CONNECTIONS + 1
    async with house(tmp_path, redis_server, files, connections) as hoarding:
        told = await excess(hoarding)
        assert any("files" in sentence for sentence in told)
        assert f"api-1 holds {connections} connections (redis)" in told


async def test_what_is_watched_and_not_recorded_is_told(tmp_path: Path, redis_server: RedisServer) -> None:
    """A subscription without a reader, an event without a record, a job that is open for ever."""
    redis = connect(redis_server.url)
    lifecycle = Lifecycle(redis, "c")
    await lifecycle.join()
    job = await created(JobLog(redis))
    await lifecycle.fresh(1, wait_ms=1)
    async with house(tmp_path, redis_server) as stuck, redis.pubsub() as subscription:
        await subscription.subscribe(f"mp:{{{job.id}}}:live")
        async with open_engines(stuck.database_url) as engines:
            await JobStore(engines).insert(JobRecord(id=job.id, task="t", params="{}", created_at=utc_now()))
        await eventually(lambda: asyncio.to_thread(_is_watched, redis_server), "it is subscribed")
        told = "\n".join(await excess(stuck))
    await redis.aclose()
    assert "1 jobs are still watched" in told
    assert "1 events were given to recorders and not acknowledged" in told
    assert "1 events are not recorded" in told
    assert "1 jobs are open in SQL" in told


def _is_watched(server: RedisServer) -> bool:
    with server.client() as client:
        return bool(client.pubsub_channels("mp:*"))
