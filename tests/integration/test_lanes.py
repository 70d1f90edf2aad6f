"""The writing loop, in the test's own process: who rides along, who does not, and what is left afterwards."""

from __future__ import annotations

import asyncio
import gc
import socket
from collections import Counter
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from milepost_api.hub import Subscription
from milepost_api.hub.topic import Topic
from milepost_api.listening import SEND_BUFFER_BYTES
from milepost_api.protocol import Loan, StreamingProtocol, _Exchange
from milepost_api.streaming.lanes import Lane
from milepost_api.streaming.lent import LentStream
from redis.asyncio import Redis
from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

from milepost.background import end
from tests.support.api import Api, Hand, announce, serving, settings
from tests.support.redis import RedisServer
from tests.support.sse import RawStream, open_stream
from tests.support.wait import DEADLINE_SECONDS, eventually

OURS = (Lane, LentStream, Loan, RequestResponseCycle, StreamingProtocol, Subscription, _Exchange)


@pytest.fixture
async def job_id(api: Api, hand: Hand) -> str:
    """A job that runs."""
    job = await api.submit()
    await eventually(lambda: _known(api, job["id"]), "it has reached the log")
    await hand.begin(job["id"])
    return str(job["id"])


async def _known(api: Api, job_id: str) -> bool:
    return (await api.services.log.positions([job_id]))[0] is not None


def url_of(api: Api, job_id: str, query: str = "") -> str:
    return f"{api.http.base_url}/v1/jobs/{job_id}/status/stream{query}".replace("//v1", "/v1")


def lanes_of(api: Api) -> list[Lane]:
    topics: list[Topic] = list(api.services.hub._topics.values())
    return [lane for topic in topics for lane in topic.watchers.values() if isinstance(lane, Lane)]


def riding(api: Api) -> int:
    """How many streams are written to without a task of their own."""
    return sum(len(lane._everybody()) for lane in lanes_of(api))


async def opened(stack: AsyncExitStack, api: Api, job_id: str, query: str = "") -> RawStream:
    stream = await stack.enter_async_context(open_stream(url_of(api, job_id, query)))
    await stream.until("snapshot")
    return stream


async def test_streams_of_one_kind_share_a_lane_and_no_task(api: Api, hand: Hand, job_id: str) -> None:
    """A lane for each set of kinds; the end leaves neither a lane nor a stream."""
    async with AsyncExitStack() as stack:
        plain = [await opened(stack, api, job_id) for _ in range(20)]
        choosy = [await opened(stack, api, job_id, "?events=status") for _ in range(5)]
        await eventually(lambda: riding(api) == 25, "all ride")
        assert len(lanes_of(api)) == 2
        assert not api.services.lanes or not api.services.lanes._tasks
        await hand.say("info", "hello")
        for stream in plain:
            [line] = await stream.until("log")
            assert line["message"] == "hello"
        await hand.succeed()
        for stream in plain + choosy:
            events = await stream.until("end")
            assert [event["type"] for event in events] == ["end"]
            assert await stream.rest() == []
    await eventually(lambda: api.services.hub.streams == 0 and riding(api) == 0, "all have left")


async def test_one_that_asks_for_seldom_deliveries_rides_in_no_lane(api: Api, job_id: str) -> None:
    """Its moments are its own."""
    async with AsyncExitStack() as stack:
        await opened(stack, api, job_id, "?min_interval_ms=50")
        assert riding(api) == 0


async def test_a_reader_who_hears_nothing_that_it_wants_is_pinged(
    tmp_path: Path, redis_server: RedisServer, redis: Redis
) -> None:
    """Events that it did not ask for are silence to it, and to whatever stands between."""
    await announce(redis)
    async with (
        serving(settings(tmp_path, redis_server.url, ping_seconds=1)) as api,
        AsyncExitStack() as stack,
    ):
        hand = Hand(api.services.log)
        job = await api.submit()
        await eventually(lambda: _known(api, job["id"]), "it has reached the log")
        await hand.begin(job["id"])
        choosy = await opened(stack, api, job["id"], "?events=status")
        await eventually(lambda: riding(api) == 1, "it rides")

        async def talk() -> None:
            while True:
                await hand.say("info", "not for it")
                await asyncio.sleep(0.2)

        talking = asyncio.create_task(talk())
        try:
            async with asyncio.timeout(DEADLINE_SECONDS / 4):
                assert [event["type"] for event in await choosy.until("ping")] == ["ping"]
        finally:
            await end(talking)


async def test_a_reader_that_is_slow_but_reads_is_not_cut(
    tmp_path: Path, redis_server: RedisServer, redis: Redis
) -> None:
    """A large event over a thin line takes longer than a reader may read nothing."""
    await announce(redis)
    size, at_once, wait = 600_000, 40_000, 0.25
    limits = {"stalled_reader_seconds": 1}
    assert (size - 2 * 2 * SEND_BUFFER_BYTES) / at_once * wait > 1, "it takes longer"
    async with serving(settings(tmp_path, redis_server.url, **limits)) as api:
        hand, loop = Hand(api.services.log), asyncio.get_running_loop()
        job = await api.submit()
        await eventually(lambda: _known(api, job["id"]), "it has reached the log")
        await hand.begin(job["id"])
        with socket.socket() as thin:
            thin.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8192)
            thin.setblocking(False)
            await loop.sock_connect(thin, ("127.0.0.1", api.server.config.port))
            request = f"GET /v1/jobs/{job['id']}/status/stream HTTP/1.1\r\nHost: milepost\r\n\r\n"
            await loop.sock_sendall(thin, request.encode())
            await eventually(lambda: riding(api) == 1, "it rides")
            await hand.say("info", "x" * size)
            await hand.succeed()
            body, rested = b"", 0
            while not body.endswith(b"0\r\n\r\n"):
                piece = await loop.sock_recv(thin, at_once)
                assert piece, f"cut after {len(body)} bytes"
                body += piece
                if len(body) - rested >= at_once:
                    rested = len(body)
                    await asyncio.sleep(wait)  # the thin line itself
    assert body.count(b"x") >= size
    assert b"event: end" in body


async def test_who_has_not_read_the_last_answer_is_cut_before_its_stream_begins(
    tmp_path: Path, redis_server: RedisServer, redis: Redis
) -> None:
    """A stream asked for behind a large answer that nobody reads would keep its seat for ever."""
    await announce(redis)
    async with serving(settings(tmp_path, redis_server.url, stalled_reader_seconds=0.3)) as api:
        hand, loop, seats = Hand(api.services.log), asyncio.get_running_loop(), api.services.hub.seats
        job = await api.submit()
        await eventually(lambda: _known(api, job["id"]), "it has reached the log")
        await hand.begin(job["id"])
        await hand.say("info", "x" * 1_000_000)
        with socket.socket() as deaf:
            deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8192)
            deaf.setblocking(False)
            await loop.sock_connect(deaf, ("127.0.0.1", api.server.config.port))
            for what in ("events", "status/stream"):
                request = f"GET /v1/jobs/{job['id']}/{what} HTTP/1.1\r\nHost: milepost\r\n\r\n"
                await loop.sock_sendall(deaf, request.encode())
            await eventually(lambda: seats.taken == 1, "the stream is about to begin")
            await eventually(lambda: seats.taken == 0, "it is cut", deadline=10)
            await eventually(lambda: len(api.server.server_state.connections) <= 1, "so is its connection")


async def test_a_stream_leaves_nothing_to_the_garbage_collector(api: Api, job_id: str) -> None:
    """Full collections are rare in an API process: what a stream consists of goes when it ends, however it ends."""

    async def come_and_go(number: int) -> None:
        async with AsyncExitStack() as stack:
            for n in range(number):
                await opened(stack, api, job_id, "?events=status" if n % 2 else "")
            await eventually(lambda: riding(api) == number, "all ride")
        await eventually(lambda: api.services.hub.streams == 0, "all have left")
        await asyncio.sleep(0)

    await come_and_go(5)
    gc.collect()
    before = _living()
    gc.disable()
    try:
        await come_and_go(60)
        left = _living() - before
    finally:
        gc.enable()
    assert sum(left.values()) <= 12, left  # a timer of the wheel holds what has just left for a moment


def _living() -> Counter[str]:
    return Counter(type(one).__name__ for one in gc.get_objects() if isinstance(one, OURS))
