"""Connections that misbehave, come in crowds, or leave at the worst moment: what is left of them is nothing."""

from __future__ import annotations

import asyncio
import fcntl
import os
import random
import socket
import struct
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx2
import pytest
from redis.asyncio import Redis
from sse_starlette.sse import AppStatus

from milepost.log import JobLog
from tests.support.alone import Alone
from tests.support.api import serving, settings
from tests.support.jobs import PlayedJob
from tests.support.ports import free_port
from tests.support.process import Process, python_environment
from tests.support.redis import RedisServer
from tests.support.sse import open_stream
from tests.support.wait import DEADLINE_SECONDS, eventually

FULL = bool(os.environ.get("MILEPOST_TEST_FULL"))
"""The counts that were promised; without it a part of them, for the suite to stay short."""
STREAMS, STORM, RESETS, VIEWERS = (2000, 2000, 5000, 10_000) if FULL else (300, 400, 600, 100)
POOL = 20
"""So many more connections to Redis may be open for a while: those that read histories, shared by all streams."""
_RESET = struct.pack("ii", 1, 0)  # SO_LINGER on, zero seconds: close sends RST


def reset(connection: socket.socket) -> None:
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
    connection.close()


def read_until(connection: socket.socket, mark: bytes) -> bytes:
    seen = b""
    while mark not in seen:
        piece = connection.recv(65_536)
        assert piece, f"closed without {mark!r}: {seen[-200:]!r}"
        seen += piece
    return seen


async def connected_clients(lone: Alone) -> int:
    return int((await lone.redis.info("clients"))["connected_clients"])


async def watched_to_its_end(lone: Alone, job: PlayedJob) -> None:
    """End the job under the eyes of a reader: nobody will come back to it, so that nothing is kept warm."""
    async with open_stream(lone.url(job)) as stream:
        await stream.until("snapshot")
        await job.end()
        await stream.until("end")


async def no_more_watched(lone: Alone, before: int) -> None:
    async def so_few() -> bool:
        return await lone.watched() <= before

    await eventually(so_few, "nothing is watched any more")


async def quiet(lone: Alone) -> int:
    """Wait until nothing is connected, and return how many files are open then."""
    await eventually(lambda: not lone.connections(), "nobody is connected")
    return lone.files()


# --- crowds ----------------------------------------------------------------------------------------


async def test_streams_cost_redis_no_connections(lone: Alone) -> None:
    """Hundreds of streams of a hundred jobs need no more connections to Redis than a few do."""
    jobs = [await lone.job() for _ in range(100)]
    before = await connected_clients(lone)
    with ExitStack() as opened:
        readers = [opened.enter_context(lone.dial()) for _ in range(STREAMS)]
        for number, reader in enumerate(readers):
            reader.sendall(lone.request(jobs[number % len(jobs)]))
        for reader in readers:
            await asyncio.to_thread(read_until, reader, b"event: snapshot")
        assert await connected_clients(lone) <= before + POOL
        assert (await lone.stack.http.get(f"/v1/jobs/{jobs[0].id}/status")).status_code == 200
    for job in jobs:
        await watched_to_its_end(lone, job)


async def test_a_storm_of_readers_who_come_back_costs_a_read_a_job(lone: Alone) -> None:
    """All readers of ten jobs return at once with their cursors, to a process that knows none of these jobs."""
    jobs = [await lone.job() for _ in range(10)]
    for job in jobs:
        for number in range(20):
            await job.log(str(number))
    epochs = [(await lone.joblog.read(job.id)).cursor.epoch for job in jobs]
    before = await lone.calls("xrange")

    async def come_back(number: int) -> None:
        job, epoch = jobs[number % len(jobs)], epochs[number % len(jobs)]
        async with open_stream(lone.url(job), last_event_id=f"{epoch}-10") as stream:
            async for event in stream.events():
                assert event.get("job_id", job.id) == job.id
                if event.get("seq") == 22:
                    break

    await asyncio.gather(*(come_back(number) for number in range(STORM)))
    assert await lone.calls("xrange") - before <= 10 * len(jobs)  # a history is read once for all, in pages
    for job in jobs:
        await watched_to_its_end(lone, job)


async def test_viewers_one_after_the_other_leave_no_subscription(lone: Alone) -> None:
    """Each of a job of its own, down to its end."""
    before = await lone.watched()
    for _ in range(VIEWERS):
        await watched_to_its_end(lone, await lone.job())
    await no_more_watched(lone, before)


# --- leaving at the worst moment -------------------------------------------------------------------


async def test_connecting_and_resetting_leaves_nothing(lone: Alone) -> None:
    """Before the answer, within its head, after its first event: files, connections, subscriptions are given back."""
    job = await lone.job()
    before, clients = await quiet(lone), await connected_clients(lone)

    def come_and_go(number: int) -> None:
        connection = lone.dial()
        connection.sendall(lone.request(job)[: None if number % 5 else number % 90])
        if number % 7 == 0 and number % 5:
            connection.recv(1 + number % 300)
        reset(connection)

    for number in range(RESETS):
        come_and_go(number)
        if number % 50 == 0:
            await asyncio.sleep(0)
    await eventually(lambda: lone.files() <= before, "every file is closed")
    assert await connected_clients(lone) <= clients + POOL
    assert not lone.connections()
    await watched_to_its_end(lone, job)
    await no_more_watched(lone, 0)
    assert "Traceback" not in lone.process.output()


async def test_resets_in_the_midst_of_a_replay_confuse_nobody(lone: Alone) -> None:
    """Reads of a history are shared: one that is given up harms no other, and nobody gets another job's events."""
    jobs = [await lone.job() for _ in range(4)]
    for number in range(400):
        await asyncio.gather(*(job.log(f"{job.id}:{number}") for job in jobs))
    epochs = {job.id: (await lone.joblog.read(job.id)).cursor.epoch for job in jobs}
    clients, chance = await connected_clients(lone), random.Random(46)

    async def storm() -> None:
        for _ in range(RESETS // 8):
            job = chance.choice(jobs)
            connection = lone.dial()
            connection.sendall(
                lone.request(job, f"Last-Event-ID: {epochs[job.id]}-{chance.randrange(2, 300)}\r\n")
            )
            await asyncio.sleep(chance.uniform(0, 0.01))
            reset(connection)

    async def replay(job: PlayedJob) -> None:
        async with open_stream(lone.url(job), last_event_id=f"{epochs[job.id]}-2") as stream:
            said = []
            async for event in stream.events():
                if event["type"] != "ping":
                    said.append(event.get("message", event["type"]))
                if len(said) == 400:
                    break
        assert said == [f"{job.id}:{number}" for number in range(400)]

    storms = [asyncio.create_task(storm()) for _ in range(4)]
    for _ in range(5):
        await asyncio.gather(*map(replay, jobs))
    await asyncio.gather(*storms)
    assert await connected_clients(lone) <= clients + POOL
    for job in jobs:
        await watched_to_its_end(lone, job)


# --- bytes that do not belong there ----------------------------------------------------------------


@pytest.mark.parametrize(
    "junk",
    [b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n", b"\0\xff not HTTP\r\n\r\n", b"G", b"\r\n" * 3000],
    ids=["request", "garbage", "a byte", "lines"],
)
async def test_bytes_on_an_open_stream_do_not_hide_that_its_reader_left(lone: Alone, junk: bytes) -> None:
    """The connection is given back all the same, and the log says at most a line for each."""
    job = await lone.job()
    before, lines = await quiet(lone), _log_lines(lone)
    for _ in range(10):
        with lone.dial() as connection:
            connection.sendall(lone.request(job))
            read_until(connection, b"event: snapshot")
            connection.sendall(junk)
    await eventually(lambda: lone.files() <= before, "every connection is closed")
    assert _log_lines(lone) - lines <= 10
    await watched_to_its_end(lone, job)


def _log_lines(lone: Alone) -> int:
    lines = lone.process.log.read_text("utf-8").splitlines()
    return len(
        [line for line in lines if "without a record" not in line]
    )  # the recorder's: these jobs have none


async def test_a_head_has_no_stream_and_no_body(lone: Alone) -> None:
    """HEAD, and what is refused, leave the connection usable: nothing of a stream follows on it."""
    job = await lone.job()
    before = await quiet(lone)
    with lone.dial() as connection:
        for method, headers, status in (
            ("HEAD", "", b"405"),
            ("POST", "Content-Length: 0\r\n", b"405"),
            ("GET", "Accept: text/html\r\n", b"406"),
        ):
            connection.sendall(lone.request(job, headers, method=method))
            if method == "HEAD":
                head = read_until(connection, b"\r\n\r\n")
                assert head.endswith(b"\r\n\r\n"), "a HEAD has no body"
            else:
                head = read_until(connection, b"}")
            assert head.startswith(b"HTTP/1.1 " + status)
        connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
        assert read_until(connection, b"}").startswith(b"HTTP/1.1 200")
    await eventually(lambda: lone.files() <= before, "no stream is left")
    await watched_to_its_end(lone, job)


async def test_an_idle_stream_is_no_timer_and_no_task(
    tmp_path: Path, redis_server: RedisServer, redis: Redis
) -> None:
    """A hundred streams that wait are a hundred connections, and pings come to all of them."""
    job = await PlayedJob.running(JobLog(redis))
    request = f"GET /v1/jobs/{job.id}/status/stream HTTP/1.1\r\nHost: x\r\n\r\n".encode()
    loop: Any = asyncio.get_running_loop()
    async with serving(settings(tmp_path, redis_server.url, ping_seconds=1)) as api:

        async def opened(number: int) -> None:
            reader, writer = await asyncio.open_connection(api.http.base_url.host, api.http.base_url.port)
            streams.append((reader, writer))
            writer.write(request)
            await reader.readuntil(b"event: snapshot")

        def timers() -> int:
            return sum(not timer.cancelled() for timer in loop._scheduled)

        streams: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []
        await opened(0)
        tasks, before = len(asyncio.all_tasks()), timers()
        for number in range(100):
            await opened(number)
        await eventually(lambda: len(asyncio.all_tasks()) <= tasks + 10, "no task is left of opening them")
        await eventually(lambda: timers() <= before + 10, "no timer is theirs")
        for reader, writer in streams:
            await reader.readuntil(b"event: ping")
            writer.transport.abort()
        await job.end()


# --- around the process ----------------------------------------------------------------------------


async def test_a_log_that_nobody_reads_stops_no_stream(
    tmp_path: Path, redis_server: RedisServer, redis: Redis
) -> None:
    """Everything it says goes to a pipe that is full: after 200 abrupt leaves it answers and streams as before."""
    reading, writing = os.pipe()
    fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, 4096)
    port = free_port()
    environment = {
        "MILEPOST_REDIS_URL": redis_server.url,
        "MILEPOST_DATA_DIR": str(tmp_path / "data"),
        "MILEPOST_PORT": str(port),
        "MILEPOST_LOG_LEVEL": "debug",
    }
    process = Process(
        "api",
        (sys.executable, "-m", "milepost_api"),
        log=tmp_path / "api.log",
        env=python_environment(environment),
        output=writing,
    )
    with process:
        os.close(writing)
        url = f"http://127.0.0.1:{port}"
        async with httpx2.AsyncClient(base_url=url, timeout=DEADLINE_SECONDS) as http:
            await eventually(lambda: _ready(http), "it serves", ignoring=(httpx2.TransportError,))
            job = await PlayedJob.running(JobLog(redis))
            request = f"GET /v1/jobs/{job.id}/status/stream HTTP/1.1\r\nHost: x\r\n\r\n".encode()
            for _ in range(200):
                connection = socket.create_connection(("127.0.0.1", port), 30)
                connection.sendall(request)
                connection.recv(10)
                reset(connection)
            assert (await http.get("/healthz")).status_code == 200
            async with open_stream(f"{url}/v1/jobs/{job.id}/status/stream") as stream:
                await stream.until("snapshot")
                await job.end()
                await stream.until("end")
        assert process.stop() == 0
    told = os.read(reading, 1 << 20)
    os.close(reading)
    assert told
    assert b"api.listening" not in told, "the pipe was never full"


async def _ready(http: httpx2.AsyncClient) -> bool:
    return bool((await http.get("/readyz")).status_code == 200)


async def test_a_server_that_left_does_not_take_the_next_one_along(
    tmp_path: Path, redis_server: RedisServer, redis: Redis
) -> None:
    """What a library remembers of a shutdown for the whole process is not what our streams go by."""
    job = await PlayedJob.running(JobLog(redis))
    for number in range(2):
        folder = tmp_path / str(number)
        folder.mkdir()
        async with serving(settings(folder, redis_server.url, ping_seconds=1)) as api:
            url = f"{str(api.http.base_url).rstrip('/')}/v1/jobs/{job.id}/status/stream"
            async with open_stream(url) as stream:
                await stream.until("ping")
                api.server.should_exit = True
                assert [event["type"] for event in await stream.rest()][-1] == "reconnect"
                assert stream.ended_clean
    assert not AppStatus.should_exit
