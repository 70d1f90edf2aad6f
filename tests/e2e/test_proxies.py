"""Streams through real nginx, HAProxy and Caddy: with the files of deploy/, and with what people have instead."""

from __future__ import annotations

import asyncio
import json
import signal
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from milepost_api.hub import Hub

from milepost.log import JobLog
from milepost.redis import connect
from tests.support.api import serving, settings
from tests.support.fronts import ALL, Changes, Front, Fronts
from tests.support.jobs import PlayedJob
from tests.support.redis import RedisServer
from tests.support.sse import RawStream, open_stream
from tests.support.stack import Stack
from tests.support.wait import eventually

if TYPE_CHECKING:
    from redis.asyncio import Redis

pytestmark = pytest.mark.anyio

SSE, NDJSON = "text/event-stream", "application/x-ndjson"
TEMPTING = {"Accept-Encoding": "gzip"}
"""Browsers say so too: whoever likes to compress may."""


class Behind:
    """Two APIs and every proxy in front of them. Jobs are played: what happens to them, the tests say."""

    def __init__(self, stack: Stack, redis: Redis, fronts: dict[str, Front]) -> None:
        self.stack, self.joblog, self.fronts = stack, JobLog(redis), fronts


@pytest.fixture(scope="module")
async def behind(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Behind]:
    """A house with all its front doors, for the tests of this file. Pings are where they are by default."""
    folder = tmp_path_factory.mktemp("behind")
    with RedisServer(folder / "redis") as server, Fronts(folder) as fronts:
        async with Stack(folder, server, apis=2, workers=0) as stack:
            ports = [int(url.rpartition(":")[2]) for url in stack.urls]
            redis = connect(server.url)
            yield Behind(stack, redis, {name: await fronts.start(name, *ports) for name in ALL})
            await redis.aclose()


@pytest.fixture(params=ALL)
def front(request: pytest.FixtureRequest, behind: Behind) -> Front:
    return behind.fronts[request.param]


def stream_of(front: Front, job: PlayedJob, query: str = "") -> str:
    return f"{front.url}/v1/jobs/{job.id}/status/stream{query}"


class Reader:
    """Reads one stream, SSE or NDJSON, an event at a time; `pings` are counted, not returned."""

    def __init__(self, stream: RawStream, media_type: str = SSE) -> None:
        self._events = stream.events() if media_type == SSE else _objects(stream)
        self.pings = 0

    async def next(self) -> dict[str, Any]:
        async for event in self._events:
            if event["type"] != "ping":
                return event
            self.pings += 1
        raise AssertionError("the stream ended")


async def _objects(stream: RawStream) -> AsyncIterator[dict[str, Any]]:
    async for line in stream.lines():
        yield json.loads(line)


@pytest.mark.parametrize("media_type", [SSE, NDJSON])
async def test_the_first_frames_of_a_silent_job_come_at_once(
    behind: Behind, front: Front, media_type: str, record_property: Any
) -> None:
    """Head and snapshot are there while nothing is said, not even a ping (pitfall 35)."""
    job = await PlayedJob.running(behind.joblog)
    path = f"/v1/jobs/{job.id}/status/stream"
    # Without the proxy first: what it adds is the difference. The second visit finds a connection to the API.
    visits = {"direct": behind.stack.url, "first": front.url, "second": front.url}
    for visit, url in visits.items():
        began = time.perf_counter()
        async with open_stream(url + path, headers={"Accept": media_type, **TEMPTING}) as stream:
            assert (stream.status, stream.headers["content-type"].partition(";")[0]) == (200, media_type)
            reader = Reader(stream, media_type)
            snapshot = await reader.next()
            took_ms = (time.perf_counter() - began) * 1000
        assert (snapshot["type"], snapshot["seq"], reader.pings) == ("snapshot", 2, 0)
        record_property(f"first_frames_ms_{visit}", round(took_ms, 1))
        print(
            f"{front.name}, {media_type}, {visit}: {took_ms:.1f} ms from connect (TLS included) to snapshot"
        )


@pytest.mark.parametrize("media_type", [SSE, NDJSON])
async def test_each_event_arrives_before_the_next_is_said(
    behind: Behind, front: Front, media_type: str
) -> None:
    """In lock-step, short ones and long: whoever holds a byte back hangs this test (pitfall 36)."""
    job = await PlayedJob.running(behind.joblog)
    async with open_stream(stream_of(front, job), headers={"Accept": media_type, **TEMPTING}) as stream:
        reader = Reader(stream, media_type)
        assert (await reader.next())["type"] == "snapshot"
        for number in range(10):
            await job.log(f"line {number}")
            assert (await reader.next())["message"] == f"line {number}"
        for index, length in enumerate((65_536, 1, 100_001, 1_000_000)):
            await job.output(index, "x" * length)
            assert len((await reader.next())["data"]) == length
        assert reader.pings == 0
        await job.end()
        assert (await reader.next())["type"] == "end"
        with pytest.raises(AssertionError, match="the stream ended"):
            await reader.next()
        assert stream.ended_clean is True


async def test_a_reader_that_comes_back_gets_what_it_missed(behind: Behind, front: Front) -> None:
    """Last-Event-ID passes through: exactly what followed it, and 204 after the end."""
    job = await PlayedJob.running(behind.joblog)
    for number in range(3):
        await job.log(f"line {number}")
    async with open_stream(stream_of(front, job)) as stream:
        [snapshot] = await stream.until("snapshot")
    epoch = snapshot["cursor"].split("-")[0]
    await job.end()
    async with open_stream(stream_of(front, job), last_event_id=f"{epoch}-3") as stream:
        missed = await stream.rest()
    assert ([event["seq"] for event in missed], stream.ended_clean) == ([4, 5, 6], True)
    async with open_stream(stream_of(front, job), last_event_id=missed[-1]["cursor"]) as stream:
        assert (stream.status, [piece async for piece in stream.chunks()]) == (204, [])


async def test_a_long_poll_is_answered_by_the_next_event(behind: Behind, front: Front) -> None:
    """The answer waits for news of a silent job, and comes with it whole."""
    job = await PlayedJob.running(behind.joblog)
    status = f"{front.url}/v1/jobs/{job.id}/status"
    async with behind.stack.http.stream("GET", status, headers=TEMPTING) as reply:
        seen = json.loads(await reply.aread())
    asked = asyncio.create_task(
        behind.stack.http.get(f"{status}?wait=50&after={seen['cursor']}", timeout=60, headers=TEMPTING)
    )
    await job.log("news")
    answer = await asked
    assert (answer.status_code, answer.json()["version"]) == (200, seen["version"] + 1)


async def test_large_answers_pass_whole(behind: Behind, front: Front) -> None:
    """What is no stream may be compressed and is the same afterwards."""
    job = await PlayedJob.running(behind.joblog)
    for number in range(50):
        await job.log(f"{number} " + "x" * 5000)
    address = f"/v1/jobs/{job.id}/events?limit=500"
    direct = await behind.stack.http.get(address)
    through = await behind.stack.http.get(front.url + address, headers=TEMPTING)
    assert through.json() == direct.json()
    compresses = front.name != "nginx-default"
    assert ("content-encoding" in through.headers) is compresses


# 2 s instead of 75, and whatever else ends what is silent.
SHORTER: dict[str, Changes] = {
    "nginx": [
        ("proxy_read_timeout 75s", "proxy_read_timeout 2s"),
        ("send_timeout 30s; ", "send_timeout 2s; "),
    ],
    "haproxy": [(f"timeout {side} 75s", f"timeout {side} 2s") for side in ("client", "server")],
    "caddy": [("idle 2m", "idle 2s"), ("read_header 10s", "read_header 2s")],
    "nginx-default": [("proxy_pass", "proxy_read_timeout 2s; proxy_pass")],
}


async def test_silent_streams_outlast_the_time_outs(
    tmp_path: Path, redis: Redis, redis_server: RedisServer
) -> None:
    """With time-outs of 2 s and a ping every second, a stream on which nothing happens stays for four."""
    async with serving(settings(tmp_path, redis_server.url, ping_seconds=1)) as api:
        with Fronts(tmp_path) as fronts:
            job = await PlayedJob.running(JobLog(redis))
            port = api.services.settings.port
            doors = [await fronts.start(name, port, changes=changes) for name, changes in SHORTER.items()]
            seen = await asyncio.gather(*(_listen(front, job, pings=4) for front in doors))
            assert seen == [["snapshot", "ping", "ping", "ping", "ping"]] * len(doors)


async def test_without_pings_the_time_outs_cut(
    tmp_path: Path, redis: Redis, redis_server: RedisServer
) -> None:
    """The same time-outs and an API that says nothing: that is what the pings are for."""
    async with serving(settings(tmp_path, redis_server.url, ping_seconds=3600)) as api:
        with Fronts(tmp_path) as fronts:
            job = await PlayedJob.running(JobLog(redis))
            port = api.services.settings.port
            impatient = {name: changes for name, changes in SHORTER.items() if name != "caddy"}
            doors = [await fronts.start(name, port, changes=changes) for name, changes in impatient.items()]
            seen = await asyncio.gather(*(_listen(front, job, pings=4) for front in doors))
            assert seen == [["snapshot"]] * len(doors)


async def _listen(front: Front, job: PlayedJob, *, pings: int) -> list[str]:
    """Return the kinds of events up to so many pings, or up to the end of the stream."""
    kinds: list[str] = []
    async with open_stream(stream_of(front, job)) as stream:
        async for event in stream.events():
            kinds.append(event["type"])
            if kinds.count("ping") == pings:
                break
    return kinds


async def test_a_reader_that_goes_is_gone_for_the_api(
    tmp_path: Path, redis: Redis, redis_server: RedisServer
) -> None:
    """Behind every proxy: the API has no stream left, long before a ping would have told it."""
    async with serving(settings(tmp_path, redis_server.url, ping_seconds=3600)) as api:
        job = await PlayedJob.running(JobLog(redis))
        with Fronts(tmp_path) as fronts:
            doors = [await fronts.start(name, api.services.settings.port) for name in ALL]
            for front in doors:
                async with open_stream(stream_of(front, job)) as stream:
                    await stream.until("snapshot")
                    assert _streams(api.services.hub) == 1
                await eventually(lambda: _streams(api.services.hub) == 0, f"{front.name} tells the API")


def _streams(hub: Hub) -> int:
    """Keep the type checker from taking the gauge for a constant."""
    return hub.streams


async def test_an_api_that_leaves_sends_its_readers_to_the_other(behind: Behind) -> None:
    """SIGTERM behind every proxy at once: `reconnect`, a clean end, then the rest from the other API, no event lost.

    It is the last test of this house.
    """
    jobs = {name: [await PlayedJob.running(behind.joblog) for _ in range(4)] for name in ALL}
    everyone = [(behind.fronts[name], job) for name, each in jobs.items() for job in each]
    told: list[str] = []
    readers = [asyncio.create_task(_follow(front, job, told)) for front, job in everyone]
    await eventually(lambda: len(told) == len(everyone), "all have their snapshot")

    for _, job in everyone:
        await job.log("before")
    leaving, staying = behind.stack.apis
    leaving.send(signal.SIGTERM)
    assert await asyncio.to_thread(leaving.wait) == 0
    for _, job in everyone:
        await job.log("after")
        await job.end()
    seen = await asyncio.gather(*readers)

    assert all(seqs == [2, 3, 4, 5] for seqs, _ in seen)
    goodbyes = {
        name: [n for (front, _), (_, n) in zip(everyone, seen, strict=True) if front.name == name]
        for name in ALL
    }
    # Both APIs had readers behind every proxy, so every proxy has shown that it spreads them and takes them over.
    assert {name: sorted(set(each)) for name, each in goodbyes.items()} == {name: [0, 1] for name in ALL}
    assert staying.alive


async def _follow(front: Front, job: PlayedJob, told: list[str]) -> tuple[list[int], int]:
    """Return the numbers of a job's events, read as a browser does, and how often an API said goodbye."""
    seqs: list[int] = []
    last_id, goodbyes = None, 0
    while True:
        async with open_stream(stream_of(front, job), last_event_id=last_id) as stream:
            assert stream.status == 200, f"{front.name}: {stream.status}"
            async for event in stream.events():
                goodbyes += event["type"] == "reconnect"
                if "seq" in event:
                    seqs.append(event["seq"])
                    last_id = event["cursor"]
                    told += [job.id] if event["type"] == "snapshot" else []
        assert stream.ended_clean, f"{front.name} cut the stream"
        if event["type"] == "end":
            return seqs, goodbyes
