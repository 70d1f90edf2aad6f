"""Streams outlive the connections and the processes that carry them: rotation, rolling restarts, full houses."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import httpx2
import psutil
import pytest
from redis.asyncio import Redis

from milepost.log import JobLog
from tests.support.follow import follow, of_the_job
from tests.support.jobs import PlayedJob
from tests.support.ports import free_port
from tests.support.process import Process, python_environment
from tests.support.proxy import TcpProxy
from tests.support.redis import RedisServer
from tests.support.sse import RawStream, open_stream
from tests.support.stack import Stack
from tests.support.wait import eventually

Start = Callable[..., Awaitable[Stack]]
MODULES = ("tests.support.tasks.played",)
JOBS = 200
DESCRIPTORS = 256


async def first_cursor(running: Stack, job_id: str) -> str:
    """Return the cursor of before the first event."""
    status = (await running.http.get(f"/v1/jobs/{job_id}/status")).json()
    return f"{status['cursor'].split('-')[0]}-0"


def reasons(events: list[dict[str, Any]]) -> list[str]:
    return [event["reason"] for event in events if event["type"] == "reconnect"]


async def test_a_stream_that_is_open_for_long_is_rotated(stack: Start) -> None:
    """Each connection is ended by the server in time, in order; all of them together are the history."""
    running = await stack(
        modules=MODULES, settings={"MILEPOST_STREAM_SECONDS_MAX": "1", "MILEPOST_PING_SECONDS": "1"}
    )
    job = await running.submit("test.count", steps=60, delay_seconds=0.1)
    cursor = await first_cursor(running, job["id"])
    told = await follow([running.url], job["id"], cursor=cursor)
    events = of_the_job(told)
    assert [event["seq"] for event in events] == list(range(1, len(events) + 1))
    assert [event["type"] for event in events].count("end") == 1
    assert set(reasons(told)) == {"rotation"}
    assert len(reasons(told)) >= 2


@pytest.mark.slow
@pytest.mark.timeout(300)
async def test_a_rolling_restart_is_not_noticed(stack: Start, tmp_path: Path) -> None:
    """Two APIs behind a proxy are restarted one after the other while 200 jobs run and each of them is followed.

    Every reader gets 1..N with one end, and nobody who was told to come back came back to the process that left.
    """
    running = await stack(apis=2, modules=MODULES, settings={"MILEPOST_CONCURRENCY": str(JOBS)})
    done = tmp_path / "done"
    jobs = [await running.submit("test.count_until", file=str(done), delay_seconds=1) for _ in range(JOBS)]
    cursors = [await first_cursor(running, job["id"]) for job in jobs]
    async with TcpProxy(*running.urls) as proxy:
        following = [
            asyncio.create_task(follow([proxy.url], job["id"], cursor=cursor, deadline=200))
            for job, cursor in zip(jobs, cursors, strict=True)
        ]
        await eventually(lambda: proxy.connections >= JOBS, "all are followed")
        for api in running.apis:
            api.send(signal.SIGTERM)
            assert await asyncio.to_thread(api.wait, 15) == 0
            api.start()
            await running.wait_for_api(api)
        done.touch()
        stories = await asyncio.gather(*following)
    for told in stories:
        events = of_the_job(told)
        assert [event["seq"] for event in events] == list(range(1, len(events) + 1))
        assert [event["type"] for event in events].count("end") == 1
        assert (events[-1]["type"], events[-1]["status"], events[-1]["attempt"]) == ("end", "succeeded", 1)
    goodbyes = [event for told in stories for event in told if event["type"] == "reconnect"]
    assert {event["reason"] for event in goodbyes} == {"shutdown"}
    assert len(goodbyes) >= JOBS  # each reader was at one of the two
    assert len(goodbyes) <= 2 * JOBS  # and was sent away by each of them once at most
    assert all("Traceback" not in api.output() for api in running.apis)


@pytest.fixture
async def narrow(tmp_path: Path, redis_server: RedisServer) -> Any:
    """An API that may open few files, and a client of it."""
    port = free_port()
    settings = {
        "MILEPOST_REDIS_URL": redis_server.url,
        "MILEPOST_DATA_DIR": str(tmp_path / "data"),
        "MILEPOST_PORT": str(port),
    }
    limited = f'ulimit -n {DESCRIPTORS}; exec "$0" -m milepost_api'
    process = Process(
        "narrow-api",
        ["/bin/sh", "-c", limited, sys.executable],
        log=tmp_path / "narrow.log",
        env=python_environment(settings),
    )
    async with httpx2.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=30) as http:
        with process:

            async def ready() -> bool:
                process.check_alive()
                return (await http.get("/readyz")).status_code == 200

            await eventually(ready, "it is ready", ignoring=(httpx2.HTTPError,))
            yield process, http


async def test_a_process_without_descriptors_left_serves_who_is_there(
    narrow: tuple[Process, httpx2.AsyncClient], redis: Redis
) -> None:
    """With `ulimit -n 256`: so many streams, a long `retry` for all others, and room again when somebody leaves."""
    process, http = narrow
    joblog = JobLog(redis)
    job = await PlayedJob.running(joblog)
    url = f"{str(http.base_url).rstrip('/')}/v1/jobs/{job.id}/status/stream"
    room = DESCRIPTORS - 64

    async with AsyncExitStack() as opened:
        streams: list[RawStream] = []
        crowded: list[dict[str, Any]] = []

        async def come() -> None:
            stream = await opened.enter_async_context(open_stream(url))
            events = stream.events()
            first = await anext(events)
            if first["type"] == "reconnect":
                crowded.append(first)
                assert [event async for event in events] == []
            else:
                assert first["type"] == "snapshot"
                streams.append(stream)

        for _ in range(15):
            await asyncio.gather(*(come() for _ in range(20)))
        assert (len(streams), len(crowded)) == (room, 300 - room)
        assert {one["reason"] for one in crowded} == {"crowded"}
        assert min(one["retry_ms"] for one in crowded) >= 15_000
        await job.log("everybody hears")
        await asyncio.gather(*(stream.until("log") for stream in streams))
        assert (await http.get("/readyz")).json()["parts"]["seats"] != "ok"
        assert psutil.Process(process.pid).num_fds() < DESCRIPTORS

        # A storm that the system itself cannot take in: more connections at once than there are descriptors.
        storm = [asyncio.open_connection("127.0.0.1", http.base_url.port) for _ in range(400)]
        arrived = await asyncio.gather(*storm, return_exceptions=True)
        await job.log("still")
        await asyncio.gather(*(stream.until("log") for stream in streams))
        for one in arrived:
            if not isinstance(one, BaseException):
                one[1].transport.abort()

        async def answers() -> bool:
            return (await http.get("/readyz")).status_code == 200

        await eventually(answers, "it answers again", ignoring=(httpx2.HTTPError,))

    async def has_room() -> bool:
        return bool((await http.get("/readyz")).json()["parts"]["seats"] == "ok")

    await eventually(has_room, "seats are free", ignoring=(httpx2.HTTPError,))
    async with open_stream(url) as stream:
        assert (await stream.until("snapshot"))[0]["type"] == "snapshot"
        await job.end()
        assert (await stream.rest())[-1]["type"] == "end"
    assert "Traceback" not in process.output()
