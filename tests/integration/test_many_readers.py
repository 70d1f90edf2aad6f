"""Who reads many jobs, and how: slowly, in intervals, by NDJSON, with our clients, and while Redis is away."""

from __future__ import annotations

import asyncio
import json
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path

import pytest
from milepost_api.hub.topic import RING_BYTES
from milepost_api.many.stream import BODY_BYTES
from redis.asyncio import Redis

from milepost.client import AsyncClient, Client, Connection
from milepost.events import AllEnded, JobMissing, Selection
from milepost.ids import new_job_id
from milepost.job import Job, Progress
from milepost.log import JobLog
from tests.support.api import Api, Hand, announce, serving, settings
from tests.support.jobs import PlayedJob
from tests.support.many import Told, assert_exact, nothing_is_left, opened, read, read_on, read_up_to, url_of
from tests.support.process import ROOT, python_environment
from tests.support.proxy import TcpProxy
from tests.support.redis import RedisServer
from tests.support.sse import RawStream
from tests.support.wait import DEADLINE_SECONDS, eventually

pytestmark = pytest.mark.anyio


@pytest.fixture(params=["lanes", "plain"])
async def api(
    request: pytest.FixtureRequest, tmp_path: Path, redis_server: RedisServer, redis: Redis
) -> AsyncIterator[Api]:
    """Both ways of writing: on a borrowed connection, and through ASGI."""
    await announce(redis)
    given = settings(
        tmp_path, redis_server.url, ping_seconds=1, stalled_reader_seconds=60, stream_writer=request.param
    )
    async with serving(given) as api:
        yield api


async def test_a_slow_reader_gets_less_progress_and_costs_no_memory(
    api: Api, joblog: JobLog, redis: Redis
) -> None:
    """What it does not take is in the rings and in Redis; when it reads on, no log and no end is missing."""
    jobs = [await PlayedJob.running(joblog) for _ in range(10)]
    async with slow(api, [job.id for job in jobs]) as stream:
        told = await read_on(stream, until="selection")
        await read_up_to(stream, told, len(jobs), "snapshot")
        for n in range(60):
            for job in jobs:
                await job._say("progress", Progress(current=n, message="x" * 20_000))
                if n % 10 == 0:
                    await job.log(f"{n}")
        [many] = api.services.many._streams
        rings = [member.subscription.topic for member in many._members.values()]
        assert all(topic is not None and topic._bytes <= 2 * RING_BYTES for topic in rings)
        for job in jobs:
            await job.end()
        await read_on(stream, told)
    assert told.counts()["log"] == 60
    assert told.counts()["job_end"] == 10
    assert told.counts()["progress"] < 400
    for job in jobs:
        seqs = [event["seq"] for event in told.of(job.id) if "seq" in event]
        assert seqs == sorted(set(seqs))
        assert [event["message"] for event in told.of(job.id, "log")] == [str(n) for n in range(0, 60, 10)]
    assert BODY_BYTES < 1_000_000
    await nothing_is_left(api, redis)


class slow:  # noqa: N801 - read like a function
    """A connection whose reader's side holds very little."""

    def __init__(self, api: Api, ids: list[str]) -> None:
        self._api, self._ids = api, ids

    async def __aenter__(self) -> RawStream:
        sock = socket.socket()
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8192)
        port = self._api.services.settings.port
        sock.setblocking(False)
        await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", port))
        reader, self._writer = await asyncio.open_connection(sock=sock, limit=8192)
        path = url_of("", jobs=self._ids)
        self._writer.write(f"GET {path} HTTP/1.1\r\nHost: x\r\nAccept: text/event-stream\r\n\r\n".encode())
        stream = RawStream(reader, DEADLINE_SECONDS)
        await stream.read_head()
        return stream

    async def __aexit__(self, *_: object) -> None:
        self._writer.close()


async def test_within_an_interval_only_the_last_progress_of_each_job_is_told(
    api: Api, joblog: JobLog
) -> None:
    """What cannot be replaced is told late, and the end of a job at once."""
    jobs = [await PlayedJob.running(joblog) for _ in range(3)]
    async with opened(api.http.base_url, jobs=[job.id for job in jobs], min_interval_ms="60000") as stream:
        told = await read_on(stream, until="selection")
        await read_up_to(stream, told, 3, "snapshot")
        for job in jobs:
            for n in range(5):
                await job.progress(n)
            await job.log("kept")
            await job.progress(9)
        for job in jobs:
            await job.end()
        await read_on(stream, told)
    for job in jobs:
        assert told.types(job.id) == ["snapshot", "log", "progress", "job_end"]
        assert told.of(job.id, "progress")[0]["progress"]["current"] == 9
    assert told.is_over


async def test_lines_say_the_same(api: Api, joblog: JobLog) -> None:
    """NDJSON holds the same objects, without a `retry`."""
    job = await PlayedJob.running(joblog)
    await job.end()
    url = url_of("", jobs=[job.id])
    answer = await api.http.get(url, headers={"Accept": "application/x-ndjson"})
    assert answer.headers["content-type"].startswith("application/x-ndjson")
    lines = [json.loads(line) for line in answer.text.splitlines()]
    assert [line["type"] for line in lines] == ["selection", "snapshot", "job_end", "end"]


async def test_only_the_kinds_that_were_asked_for(api: Api, joblog: JobLog) -> None:
    """And what always comes; whoever comes back goes on behind what it did not want."""
    jobs = [await PlayedJob.running(joblog) for _ in range(2)]
    ids = [job.id for job in jobs]
    async with opened(api.http.base_url, jobs=ids, events="log") as stream:
        told = await read_on(stream, until="snapshot")
        await read_up_to(stream, told, 2, "snapshot")
        for job in jobs:
            await job.progress(1)
            await job.log("wanted")
        await read_up_to(stream, told, 2, "log")
    for job in jobs:
        await job.progress(2)
        await job.end()
    await read(api.http.base_url, told, jobs=ids, events="log")
    for job in jobs:
        assert told.types(job.id) == ["snapshot", "log", "job_end"]


async def test_while_redis_is_silent_a_reader_is_asked_to_come_back(
    tmp_path: Path, redis_server: RedisServer
) -> None:
    """200 with `reconnect` for an EventSource, which would never come back after a 503; 503 for others."""
    given = settings(tmp_path, redis_server.url, redis_answer_seconds=0.5)
    async with serving(given) as api:
        redis_server.process.pause()
        try:
            told = await read(api.http.base_url, jobs=[new_job_id()])
            assert [(event["type"], event["reason"]) for event in told.events] == [
                ("reconnect", "unavailable")
            ]
            url = url_of("", jobs=[new_job_id()])
            answer = await api.http.get(url, headers={"Accept": "application/x-ndjson"})
            assert (answer.status_code, answer.headers["retry-after"]) == (503, "2")
        finally:
            redis_server.process.resume()


async def test_a_job_that_vanishes_is_said_to_be_gone(api: Api, joblog: JobLog, redis: Redis) -> None:
    """Neither Redis nor the records have it any more: it is missing, and the others go on."""
    job, gone = await PlayedJob.running(joblog), await PlayedJob.running(joblog)
    async with opened(api.http.base_url, jobs=[job.id, gone.id]) as stream:
        told = await read_on(stream, until="snapshot")
        await read_up_to(stream, told, 2, "snapshot")
        await redis.delete(f"mp:{{{gone.id}}}:state", f"mp:{{{gone.id}}}:events")
        await read_on(stream, told, until="job_missing")
        assert (told.events[-1]["job_id"], told.events[-1]["reason"]) == (gone.id, "deleted")
        await job.end()
        await read_on(stream, told)
    assert told.events[-1]["by_status"] == {"succeeded": 1, "missing": 1}


# --- clients ---------------------------------------------------------------------------------------


async def test_the_asynchronous_client_does_not_notice_cuts(api: Api, joblog: JobLog) -> None:
    """Every state of every job once and in order, up to all ends, over connections that are cut again and again."""
    jobs = [await PlayedJob.running(joblog) for _ in range(5)]
    seen: dict[str, list[Job]] = {job.id: [] for job in jobs}
    losses: list[Connection] = []
    async with TcpProxy(str(api.http.base_url)) as proxy, client_of(proxy.url) as client:
        proxy.cut_next_after(*range(1500, 9000, 500))

        async def watch() -> None:
            async with aclosing(client.watch_many(seen, on_connection=losses.append)) as states:
                async for job in states:
                    seen[job.id].append(job)

        watching = asyncio.create_task(watch())
        for n in range(20):
            for job in jobs:
                await job.log(f"{n}")
        for job in jobs:
            await job.end()
        await watching
    assert sum(1 for one in losses if one.error) >= 3
    for states in seen.values():
        versions = [job.version for job in states]
        assert versions == list(range(versions[0], 24))
        assert states[-1].done


def client_of(url: str) -> AsyncClient:
    async def at_once(_seconds: float) -> None:
        await asyncio.sleep(0)

    return AsyncClient(url, sleep=at_once)


async def test_the_plain_client_follows_a_batch(api: Api) -> None:
    """Events as on the wire: the selection, those of the jobs, the end of all; no jobs named are no jobs."""
    for _ in range(3):
        job_id = (await api.submit(batch_id="b1"))["id"]
        await Hand(api.services.log).run(job_id)
    base = str(api.http.base_url)

    def follow() -> list[object]:
        with Client(base) as client:
            assert list(client.watch_many([])) == []
            missing = list(client.follow_many([new_job_id()]))
            assert [type(event) for event in missing] == [Selection, JobMissing, AllEnded]
            return list(client.follow_many(batch="b1"))

    events = await asyncio.to_thread(follow)
    assert isinstance(events[0], Selection)
    assert isinstance(events[-1], AllEnded)
    assert events[-1].by_status == {"succeeded": 3}
    assert len(events) == 8


async def test_the_command_line_watches_several_jobs(api: Api, joblog: JobLog) -> None:
    """Lines that begin with the id; the exit code is 0 if all succeeded, and 3 if one is not there."""
    jobs = [await PlayedJob.running(joblog) for _ in range(2)]
    for job in jobs:
        await job.log("hello")
        await job.end()
    code, out, err = await milepost(api, "watch", *(job.id for job in jobs))
    assert code == 0, err
    for job in jobs:
        assert any(line.startswith(job.id) and "succeeded" in line for line in out.splitlines()), out
    assert "2 jobs: 2 succeeded" in err
    code, out, err = await milepost(api, "watch", jobs[0].id, absent := new_job_id())
    assert (code, f"{absent}  there is no such job" in err) == (3, True), err
    code, out, _ = await milepost(api, "watch", "--batch", "nobodys", "--json")
    assert (code, [json.loads(line)["type"] for line in out.splitlines()]) == (0, ["selection", "end"])
    code, _, err = await milepost(api, "watch", jobs[0].id, "--tag", "x")
    assert (code, "Name one job or more" in err) == (2, True)


async def milepost(api: Api, *arguments: str) -> tuple[int | None, str, str]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "milepost.cli.main", *arguments),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        cwd=ROOT,
        env=python_environment({"MILEPOST_URL": str(api.http.base_url).rstrip("/")}),
    )
    out, err = await asyncio.wait_for(process.communicate(), DEADLINE_SECONDS)
    return process.returncode, out.decode(), err.decode()


async def test_a_connection_that_was_open_for_long_comes_back(
    tmp_path: Path, redis_server: RedisServer, redis: Redis, joblog: JobLog
) -> None:
    """The whole of it, once, and not each job by itself; nothing is lost by it. It has one seat, however many jobs."""
    jobs = [await PlayedJob.running(joblog) for _ in range(5)]
    ids = [job.id for job in jobs]
    async with serving(settings(tmp_path, redis_server.url, stream_seconds_max=1, stream_limit=2)) as api:
        told = Told()
        for n in range(3):
            async with opened(api.http.base_url, told, jobs=ids) as stream:
                await read_on(stream, told, until="selection")
                assert api.services.hub.seats.taken == 1
                for job in jobs:
                    await job.log(f"{n}")
                await read_on(stream, told)
            assert (told.events[-1]["type"], told.events[-1]["reason"]) == ("reconnect", "rotation")
        for job in jobs:
            await job.end()
        await read(api.http.base_url, told, jobs=ids)
        await nothing_is_left(api, redis)
    assert told.counts()["reconnect"] == 3
    assert_exact(told, dict.fromkeys(ids, 6))


async def test_a_full_process_asks_to_come_back(
    tmp_path: Path, redis_server: RedisServer, joblog: JobLog
) -> None:
    """A stream of many jobs is one stream, and finds no room where no other does."""
    job = await PlayedJob.running(joblog)
    async with serving(settings(tmp_path, redis_server.url, stream_limit=1)) as api:
        async with opened(api.http.base_url, jobs=[job.id]) as stream:
            await read_on(stream, until="snapshot")
            told = await read(api.http.base_url, jobs=[job.id])
            assert [(event["type"], event["reason"]) for event in told.events] == [("reconnect", "crowded")]
        await eventually(lambda: api.services.hub.seats.taken == 0, "the seat is free")
