"""What the API says of itself: alive, able to work, and how well."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
from milepost_api.routes import health
from redis.asyncio import Redis

from milepost.log import JobLog
from tests.support.api import Api, serving, settings
from tests.support.jobs import PlayedJob
from tests.support.redis import RedisServer
from tests.support.sse import open_stream
from tests.support.wait import eventually

PARTS = ("redis", "database", "schema", "process", "stream", "seats")


@pytest.fixture
async def api(tmp_path: Path, redis_server: RedisServer) -> AsyncIterator[Api]:
    async with serving(settings(tmp_path, redis_server.url, stream_limit=3)) as running:
        yield running


async def ready(api: Api) -> tuple[int, dict[str, Any]]:
    answer = await api.http.get("/readyz")
    return answer.status_code, answer.json()


async def test_health_says_which_part_fails(api: Api, redis_server: RedisServer) -> None:
    """Alive is not ready: without Redis the process stays, and gets no traffic."""
    await eventually(lambda: api.services.hub.lag_seconds > 0, "it has heard itself")
    status, said = await ready(api)
    assert (status, said["status"], said["parts"]) == (200, "ok", dict.fromkeys(PARTS, "ok"))
    assert 0 < said["lag_seconds"] < 5
    redis_server.stop()
    assert (await api.http.get("/healthz")).status_code == 200
    answer = await api.http.get("/readyz")
    assert (answer.status_code, answer.headers["content-type"]) == (503, "application/problem+json")
    assert answer.json()["parts"]["redis"] != "ok" == answer.json()["parts"]["schema"]


async def test_a_process_that_leaves_is_not_ready(api: Api) -> None:
    """A load balancer stops sending before the door is shut."""
    api.services.hub.draining.set()
    assert (await ready(api))[0] == 503


@pytest.mark.parametrize("writer", ["lanes", "plain"])
async def test_a_process_that_hears_nothing_is_degraded_and_after_a_while_not_ready(
    tmp_path: Path, redis_server: RedisServer, redis: Redis, monkeypatch: pytest.MonkeyPatch, writer: str
) -> None:
    """Redis answers and lets nobody subscribe. Streams go on, a little late, and say so; NDJSON has no comments."""
    wanted = settings(tmp_path, redis_server.url, stream_writer=writer)
    async with serving(wanted) as api:
        await hears_nothing(api, redis, monkeypatch)


async def hears_nothing(api: Api, redis: Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    job = await PlayedJob.running(JobLog(redis))
    url = f"{str(api.http.base_url).rstrip('/')}/v1/jobs/{job.id}/status/stream"
    async with (
        open_stream(url) as stream,
        open_stream(url, headers={"Accept": "application/x-ndjson"}) as lines,
    ):
        await stream.until("snapshot")
        reading = asyncio.create_task(stream.rest())
        others = asyncio.create_task(lines.rest_of_lines())
        await redis.execute_command("ACL", "SETUSER", "default", "resetchannels", "&mp:nobody")
        try:
            await redis.execute_command("CLIENT", "KILL", "TYPE", "pubsub")
            await eventually(lambda: api.services.hub.health.degraded, "it hears nothing")
            status, said = await ready(api)
            assert (status, said["status"]) == (200, "degraded")
            assert "streams are a few seconds behind" in said["parts"].pop("stream")
            assert set(said["parts"].values()) == {"ok"}
            monkeypatch.setattr(health, "USELESS_AFTER_SECONDS", 0.0)
            status, said = await ready(api)
            assert status == 503
            assert said["detail"].startswith("stream: Redis has published nothing")
            await eventually(lambda: b": degraded" in stream.body, "the stream says so")
        finally:
            await redis.execute_command("ACL", "SETUSER", "default", "allchannels")
        await eventually(lambda: not api.services.hub.health.degraded, "it hears again")
        assert (await ready(api))[0] == 200
        await job.end()
        assert [event["type"] for event in await reading if event["type"] != "ping"] == ["end"]
        assert stream.body.count(b": degraded\n\n") == stream.body.count(b": live\n\n") == 1
        assert [line[:1] for line in await others if line] == [b"{"] * 2


async def test_who_finds_no_room_is_asked_to_come_back_later(api: Api, redis: Redis) -> None:
    """An EventSource is answered with a long `retry` and the end, others with 503; a seat that is left is free."""
    job = await PlayedJob.running(JobLog(redis))
    url = f"{str(api.http.base_url).rstrip('/')}/v1/jobs/{job.id}/status/stream"
    async with AsyncExitStack() as opened:
        streams = [await opened.enter_async_context(open_stream(url)) for _ in range(3)]
        for stream in streams:
            await stream.until("snapshot")
        async with open_stream(url) as excess:
            [goodbye] = await excess.rest()
        assert (excess.status, excess.ended_clean, excess.headers["connection"]) == (200, True, "close")
        assert (goodbye["type"], goodbye["reason"]) == ("reconnect", "crowded")
        assert 15_000 <= goodbye["retry_ms"] <= 30_000
        assert excess.decoder.retry_ms == goodbye["retry_ms"]
        async with open_stream(url, headers={"Accept": "application/x-ndjson"}) as refused:
            body = b"".join([piece async for piece in refused.chunks()])
        assert (refused.status, refused.headers["content-type"]) == (503, "application/problem+json")
        assert 15 <= int(refused.headers["retry-after"]) <= 30
        assert b"as many streams as it may" in body
        status, said = await ready(api)
        assert (status, said["status"]) == (200, "degraded")
        assert said["parts"]["seats"].startswith("All 3 streams are taken")
        missing = await api.http.get("/v1/jobs/01890000-0000-7000-8000-000000000000/status/stream")
        assert missing.status_code in (200, 404)
    await eventually(lambda: api.services.hub.seats.taken == 0, "all have left")
    assert (await ready(api))[1]["status"] == "ok"
    missing = await api.http.get("/v1/jobs/01890000-0000-7000-8000-000000000000/status/stream")
    assert missing.status_code == 404
    assert api.services.hub.seats.taken == 0
