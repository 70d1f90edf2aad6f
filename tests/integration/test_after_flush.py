"""Redis loses everything, or what it was to keep for a while only: what readers, callers and workers then see."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis

from milepost.events import INLINE_RESULT_BYTES
from milepost.log import JobLog
from milepost.times import parse
from tests.support.api import Api, Hand, announce, serving, settings
from tests.support.redis import RedisServer
from tests.support.sse import RawStream, open_stream
from tests.support.wait import eventually

pytestmark = pytest.mark.anyio


async def recorded(api: Api, job_id: str, status: str) -> None:
    async def is_it() -> bool:
        record = await api.services.store.get(job_id)
        return record is not None and record.status == status

    await eventually(is_it, f"the record says {status}")


async def begun(api: Api, joblog: JobLog, job: dict[str, Any]) -> Hand:
    hand = Hand(joblog)
    await hand.begin(job["id"])
    await recorded(api, job["id"], "running")
    return hand


async def seen(stream: RawStream) -> list[dict[str, Any]]:
    return [event for event in await stream.rest() if event["type"] not in {"ping", "waiting"}]


async def test_open_streams_see_a_gap_then_the_truth_then_the_end(
    api: Api, redis: Redis, redis_server: RedisServer
) -> None:
    """Of a job that waits, of one that goes on with its next attempt, and of one that has no attempts left."""
    joblog = JobLog(redis)
    waits, goes_on, over = [await api.submit(max_attempts=attempts) for attempts in (1, 2, 1)]
    old = await begun(api, joblog, goes_on)
    await begun(api, joblog, over)
    base = str(api.http.base_url).rstrip("/")
    streams = []
    for job in (waits, goes_on, over):
        stream = open_stream(f"{base}/v1/jobs/{job['id']}/status/stream")
        streams.append((stream, await stream.__aenter__()))
        await streams[-1][1].until("snapshot")
    await redis.flushall()
    await announce(redis)
    first = await asyncio.gather(*(stream.until("snapshot") for _, stream in streams))
    assert all(
        [event["type"] for event in events if event["type"] != "waiting"][-2:] == ["gap", "snapshot"]
        for events in first
    )
    snapshots = [events[-1]["job"] for events in first]
    assert [(job["status"], job["attempt"]) for job in snapshots] == [
        ("queued", 0),
        ("retrying", 1),
        ("failed", 1),
    ]
    assert [job["error"] and job["error"]["code"] for job in snapshots] == [None, "lost", "lost"]
    assert old._reports is not None
    assert await joblog.call(old._reports.renew(60_000)) == b"refused"
    await Hand(joblog).run(waits["id"])
    second = Hand(joblog)
    assert (await second.begin(goes_on["id"])).attempt == 2
    await second.succeed()
    told = await asyncio.gather(*(seen(stream) for _, stream in streams))
    for (stream, _), job, events in zip(streams, (waits, goes_on, over), told, strict=True):
        await stream.__aexit__(None, None, None)
        assert [event["type"] for event in events].count("end") == 1
        assert events[-1]["type"] == "end"
        await recorded(api, job["id"], events[-1]["status"])
    assert [(events[-1]["status"], events[-1]["attempt"]) for events in told] == [
        ("succeeded", 1),
        ("succeeded", 2),
        ("failed", 1),
    ]
    assert told[2][-1]["error"]["code"] == "lost"


async def test_a_finished_job_is_read_everywhere_when_redis_has_forgotten_it(api: Api, redis: Redis) -> None:
    """Job, result of any size, status, list, stream and the time of forgetting; nothing brings it back to Redis."""
    large = '"' + "x" * (INLINE_RESULT_BYTES + 1) + '"'
    jobs = []
    for result in ("3", large):
        job = await api.submit()
        await Hand(JobLog(redis)).run(job["id"], result)
        await recorded(api, job["id"], "succeeded")
        jobs.append((job, await api.get(f"/v1/jobs/{job['id']}"), result))
    await redis.flushall()
    for job, before, result in jobs:
        after = await api.get(f"/v1/jobs/{job['id']}")
        assert {key: value for key, value in after.items() if key != "heartbeat_at"} == {
            key: value for key, value in before.items() if key != "heartbeat_at"
        }
        kept = (parse(after["expires_at"]) - parse(after["finished_at"])).total_seconds()
        assert kept == api.services.settings.redis_retention_seconds
        assert (await api.http.get(job["urls"]["result"])).text == result
        status = await api.get(f"/v1/jobs/{job['id']}/status")
        assert (status["status"], status["done"]) == ("succeeded", True)
        async with open_stream(str(api.http.base_url).rstrip("/") + job["urls"]["stream"]) as stream:
            events = await seen(stream)
        assert [event["type"] for event in events] == ["snapshot", "end"]
        assert events[-1]["result_omitted"] == (result == large)
    listed = await api.get("/v1/jobs", status="succeeded")
    assert {item["id"] for item in listed["items"]} == {job["id"] for job, _, _ in jobs}
    assert await JobLog(redis).positions([job["id"] for job, _, _ in jobs]) == [None, None]


async def test_who_opens_a_stream_brings_a_running_job_back_with_its_attempts(api: Api, redis: Redis) -> None:
    """By the same way and under the same guard as the dispatcher: not from attempt 0."""
    joblog = JobLog(redis)
    job = await api.submit(max_attempts=3)
    await begun(api, joblog, job)
    await redis.flushall()
    recalled = await api.services.hub.memory.recall(job["id"])
    assert recalled is not None
    view = await joblog.read(job["id"])
    assert (view.job.status, view.job.attempt) == ("retrying", 1)


async def test_nobody_brings_a_job_back_while_the_records_are_far_behind(
    tmp_path: Path, redis: Redis, redis_server: RedisServer
) -> None:
    """It may have ended, been forgotten and not been recorded: a stream that opens would let it run twice."""
    await announce(redis)
    async with serving(settings(tmp_path, redis_server.url, redis_retention_seconds=60)) as api:
        job = await api.submit()
        async with redis.pipeline(transaction=True) as pipe:
            pipe.delete("mp:lifecycle", *(f"mp:{{{job['id']}}}:{part}" for part in ("state", "events")))
            pipe.xadd("mp:lifecycle", {"e": "{}"}, id="1-1")  # has waited since 1970,
            pipe.xgroup_create("mp:lifecycle", "recorder", id="$")  # and no recorder is given it
            await pipe.execute()
        recalled = await api.services.hub.memory.recall(job["id"])
        assert recalled is not None
        assert await JobLog(redis).positions([job["id"]]) == [None]
