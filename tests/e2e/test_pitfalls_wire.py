"""What is on the wire, as hostile networks, foreign pages and naive clients meet it."""

from __future__ import annotations

import asyncio
import random
import re
import socket
from typing import Any

import httpx2
from milepost_api.app import create_app
from milepost_api.settings import ApiSettings
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.middleware.cors import CORSMiddleware

from milepost.codec import SseDecoder
from tests.support.alone import PAGE, Alone
from tests.support.jobs import PlayedJob
from tests.support.sse import open_stream
from tests.support.wait import DEADLINE_SECONDS, eventually


def cursors(body: bytes) -> list[str]:
    """Return the ids that stand in a body; the decoder gives a frame without one the last before it."""
    return re.findall(r"^id: (.+)$", body.decode(), re.MULTILINE)


async def test_whatever_the_last_frame_was_what_follows_is_whole(lone: Alone) -> None:
    """Cut behind a snapshot, a progress, a log, an output, a ping or a gap: who comes back gets the rest, once."""
    job = await lone.job()
    async with open_stream(lone.url(job), last_event_id="of-1") as stream:  # a gap, then a snapshot
        await stream.until("snapshot")
        await stream.until("ping")
        for number in range(3):
            await job.progress(number)
            await stream.until("progress")
            await job.log(str(number))
            await stream.until("log")
            await job.output(number, {})
            await stream.until("output")
        await stream.until("ping")
        await job.end()
        await stream.rest()
    blocks = bytes(stream.body).split(b"\n\n")
    whole = cursors(bytes(stream.body))
    last_seen = ""
    for count in range(1, len(blocks)):
        client = SseDecoder()
        client.feed(b"\n\n".join(blocks[:count]) + b"\n\n")
        if client.last_event_id == last_seen:
            continue  # a frame without an id leaves the cursor alone: the same reconnection as before
        last_seen = client.last_event_id
        async with open_stream(lone.url(job), last_event_id=last_seen) as rest:
            await rest.rest()
        assert whole[: whole.index(last_seen) + 1] + cursors(bytes(rest.body)) == whole
    assert len({*whole}) == 11
    assert {b"gap", b"ping", b"snapshot", b"end"} <= {
        block.partition(b"event: ")[2].partition(b"\n")[0] for block in blocks
    }


async def test_a_thousand_hostile_cursors_get_an_answer(lone: Alone) -> None:
    """Of random bytes and of pieces of real ones: an event at once, or the refusal of HTTP; never a 500 or a wait."""
    job = await lone.job()
    epoch = (await lone.joblog.read(job.id)).cursor.epoch.encode()
    chance = random.Random(48)
    pieces = [
        epoch,
        b"-",
        b"0",
        b"1",
        b"99",
        b"\xff",
        b"%00",
        b" ",
        b":",
        b"e",
        b"\xe2\x80\xa8",
        b"-1",
        b"9" * 40,
    ]

    def hostile(number: int) -> bytes:
        if number % 3 == 0:
            return chance.randbytes(chance.randrange(1, 60)).replace(b"\n", b"").replace(b"\r", b"")
        return b"".join(chance.choices(pieces, k=chance.randrange(1, 8)))

    async def send(cursor: bytes) -> bytes:
        reader, writer = await asyncio.open_connection("127.0.0.1", lone.port)
        try:
            writer.write(lone.request(job)[:-2] + b"Last-Event-ID: " + cursor + b"\r\n\r\n")
            status = (await reader.readline())[9:12]
            if status == b"200":
                await reader.readuntil(b"event: ")
                return (await reader.readline()).strip()
            return status
        finally:
            writer.transport.abort()

    async with asyncio.timeout(DEADLINE_SECONDS):
        for start in range(0, 1000, 20):
            for answer in await asyncio.gather(*(send(hostile(start + n)) for n in range(20))):
                # At its very place, or with the job's first event behind it, a cursor is a good one.
                assert answer in (b"gap", b"snapshot", b"status", b"ping", b"400"), answer
    assert "Traceback" not in lone.process.output()
    await job.end()


# --- pages of other origins ------------------------------------------------------------------------


async def test_a_page_of_another_origin_can_read_every_answer(lone: Alone) -> None:
    """Also the 204 that tells its EventSource to stop, and refusals; a preflight for a cursor is answered."""
    job = await lone.job()
    page = {"Origin": PAGE}
    async with open_stream(lone.url(job), headers=page) as stream:
        await stream.until("snapshot")
        await job.end()
        cursor = (await stream.until("end"))[-1]["cursor"]
        assert stream.headers["access-control-allow-origin"] == PAGE
    async with httpx2.AsyncClient(headers=page, timeout=30) as http:
        over = await http.get(lone.url(job), headers={"Last-Event-ID": cursor})
        missing = await http.get(lone.stack.stream_url("nothing"))
        wrong = await http.get(lone.url(job), headers={"Accept": "text/html"})
        asked = await http.options(
            lone.url(job),
            headers={
                "Access-Control-Request-Method": "GET",
                "Access-Control-Request-Headers": "Last-Event-ID",
            },
        )
        stranger = await http.get(lone.url(job), headers={"Origin": "https://elsewhere.example.org"})
    assert [answer.status_code for answer in (over, missing, wrong, asked)] == [204, 404, 406, 200]
    for answer in (over, missing, wrong, asked):
        assert answer.headers["access-control-allow-origin"] == PAGE
        assert "access-control-allow-credentials" not in answer.headers
    assert "last-event-id" in asked.headers["access-control-allow-headers"].lower()
    assert "access-control-allow-origin" not in stranger.headers


def test_nothing_between_server_and_route_gathers_a_body() -> None:
    """Starlette's `BaseHTTPMiddleware` runs a route in a task of its own and hands its body on through a queue."""
    stack: Any = create_app(ApiSettings(cors_origins=(PAGE,))).build_middleware_stack()
    found = []
    while stack is not None:
        found.append(type(stack))
        stack = getattr(stack, "app", None) or getattr(stack, "_app", None)
    assert len(found) > 5, found  # the walk has not ended at the first that hides what is behind it
    assert CORSMiddleware in found
    assert not [one for one in found if issubclass(one, BaseHTTPMiddleware)]


# --- requests by hand ------------------------------------------------------------------------------


async def test_http_1_0_gets_no_chunks_live(lone: Alone) -> None:
    """While the job goes on: each event as it happens, one `Connection`, and the end of the connection is the end."""
    job = await lone.job()
    with lone.dial() as connection:
        connection.sendall(lone.request(job).replace(b"HTTP/1.1", b"HTTP/1.0"))
        seen = await _until(connection, b"event: snapshot")
        head = seen.partition(b"\r\n\r\n")[0].lower()
        assert b"chunked" not in head
        assert head.count(b"connection:") == 1
        await _log_and_end(job)
        seen += await _until(connection, b"")
    body = seen.partition(b"\r\n\r\n")[2]
    assert [frame.event for frame in SseDecoder().feed(body)] == ["snapshot", "log", "end"]


async def _log_and_end(job: PlayedJob) -> None:
    await job.log("live")
    await job.end()


async def _until(connection: socket.socket, mark: bytes) -> bytes:
    """Read up to the mark, or to the end of the connection if it is empty."""
    seen, over = bytearray(), False
    connection.setblocking(False)

    def found() -> bool:
        nonlocal over
        piece = connection.recv(65_536)
        seen.extend(piece)
        over = over or not piece
        return mark in seen if mark else over

    await eventually(found, f"{mark!r} has come", ignoring=(BlockingIOError,))
    return bytes(seen)
