"""One job's stream over real HTTP: its head, its bytes, its end, and who reads it how."""

from __future__ import annotations

import asyncio
import json
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from milepost_api.hub.topic import RING_EVENTS
from milepost_api.listening import SEND_BUFFER_BYTES

from milepost.codec import SseDecoder
from milepost.log import JobLog
from tests.support.api import Api, serving, settings
from tests.support.jobs import PlayedJob
from tests.support.redis import RedisServer
from tests.support.sse import RawStream, open_stream
from tests.support.wait import eventually


@pytest.fixture
async def api(tmp_path: Path, redis_server: RedisServer) -> AsyncIterator[Api]:
    async with serving(
        settings(tmp_path, redis_server.url, ping_seconds=1, stalled_reader_seconds=0.5)
    ) as api:
        yield api


def url_of(api: Api, job: PlayedJob, query: str = "") -> str:
    return str(api.http.base_url).rstrip("/") + f"/v1/jobs/{job.id}/status/stream{query}"


async def finished_job(joblog: JobLog, logs: int = 6) -> PlayedJob:
    job = await PlayedJob.running(joblog)
    for i in range(logs):
        await job.log(f"line {i}")
    await job.end()
    return job


async def read(url: str, **options: Any) -> tuple[RawStream, list[dict[str, Any]]]:
    """Read a whole stream, which must end the way HTTP says."""
    async with open_stream(url, **options) as stream:
        events = await stream.rest()
    assert stream.ended_clean, events
    return stream, events


def types(events: list[dict[str, Any]]) -> list[str]:
    return [event["type"] for event in events]


# --- what a client sees --------------------------------------------------------------------------


async def test_the_first_bytes_come_before_anything_happens(api: Api, joblog: JobLog) -> None:
    """Nothing buffers: the head forbids it, and `retry` and the snapshot of a silent job are there at once."""
    job = await PlayedJob.running(joblog)
    async with open_stream(url_of(api, job)) as stream:
        assert stream.status == 200
        assert stream.headers["content-type"].startswith("text/event-stream")
        assert stream.headers["cache-control"] == "no-store, no-transform"
        assert stream.headers["x-accel-buffering"] == "no"
        assert stream.headers["content-encoding"] == "identity"
        assert "connection" not in stream.headers
        [snapshot] = await stream.until("snapshot")
        assert bytes(stream.body).startswith(b"retry: ")
        assert (snapshot["seq"], snapshot["job"]["status"]) == (2, "running")
        assert 2000 <= (stream.decoder.retry_ms or 0) <= 4000


async def test_silence_is_filled_with_pings_that_move_no_cursor(api: Api, joblog: JobLog) -> None:
    """A ping is an event, so that a page can see it, and has no id, so that a reconnection loses nothing."""
    job = await PlayedJob.running(joblog)
    async with open_stream(url_of(api, job)) as stream:
        before = (await stream.until("snapshot"))[-1]["cursor"]
        [ping] = await stream.until("ping")
        assert "seq" not in ping
        assert stream.decoder.last_event_id == before


async def test_after_the_end_there_is_nothing_to_come_back_for(api: Api, joblog: JobLog) -> None:
    """The end's cursor gets 204 and no body; anybody else snapshot and end, also who was cut between the two."""
    job = await finished_job(joblog)
    _, events = await read(url_of(api, job))
    assert types(events) == ["snapshot", "end"]
    snapshot, end = (event["cursor"] for event in events)
    again = await api.http.get(url_of(api, job), headers={"Last-Event-ID": end})
    assert (again.status_code, again.content) == (204, b"")
    assert "content-type" not in again.headers
    _, rest = await read(url_of(api, job), last_event_id=snapshot)
    assert types(rest) == ["end"]


async def test_the_cursor_in_the_header_is_newer_than_the_one_in_the_query(api: Api, joblog: JobLog) -> None:
    """EventSource repeats the URL with the old one for ever; without a header the query counts."""
    job = await finished_job(joblog)
    _, [_, end] = await read(url_of(api, job))
    epoch = end["cursor"].split("-")[0]
    _, by_query = await read(url_of(api, job, f"?last_event_id={epoch}-2"))
    assert [event["seq"] for event in by_query] == [3, 4, 5, 6, 7, 8, 9]
    _, by_header = await read(url_of(api, job, f"?last_event_id={epoch}-2"), last_event_id=f"{epoch}-7")
    assert [event["seq"] for event in by_header] == [8, 9]
    seen = await api.http.get(
        url_of(api, job, f"?last_event_id={epoch}-2"), headers={"Last-Event-ID": end["cursor"]}
    )
    assert seen.status_code == 204


async def test_ndjson_holds_the_same_events(api: Api, joblog: JobLog) -> None:
    """One object a line, under the same rules."""
    job = await finished_job(joblog)
    _, events = await read(url_of(api, job), last_event_id="nonsense")
    async with open_stream(
        url_of(api, job), last_event_id="nonsense", headers={"Accept": "application/x-ndjson"}
    ) as stream:
        lines = [json.loads(line) async for line in stream.lines()]
    assert stream.ended_clean
    assert stream.headers["content-type"] == "application/x-ndjson"
    assert types(lines) == ["gap", "snapshot", "end"]
    assert [line for line in lines if line["type"] != "snapshot"] == [
        e for e in events if e["type"] != "snapshot"
    ]
    end = await api.http.get(
        url_of(api, job), headers={"Accept": "application/x-ndjson", "Last-Event-ID": lines[-1]["cursor"]}
    )
    assert end.status_code == 204


async def test_only_some_events_and_only_so_often(api: Api, joblog: JobLog) -> None:
    """`events=` filters all but what a reader cannot do without; `min_interval_ms=` gathers."""
    job = await PlayedJob.running(joblog)
    async with (
        open_stream(url_of(api, job, "?events=log,output")) as logs,
        open_stream(url_of(api, job, "?min_interval_ms=60000")) as seldom,
    ):
        await logs.until("snapshot")
        await seldom.until("snapshot")
        for i in range(5):
            await job.progress(i)
        await job.log("kept")
        await job.end()
        assert types(await logs.rest()) == ["log", "end"]
        assert [e for e in types(await seldom.rest()) if e != "ping"] == ["progress", "log", "end"]
    refused = await api.http.get(url_of(api, job, "?min_interval_ms=-1"))
    assert (refused.status_code, refused.headers["content-type"]) == (422, "application/problem+json")


# --- cut and resumed -----------------------------------------------------------------------------


async def test_cut_at_every_byte_and_resumed_nothing_is_lost_or_told_twice(api: Api, joblog: JobLog) -> None:
    """Wherever the bytes of a whole run stop, what was dispatched and what the resumed stream holds are the run."""
    job = await PlayedJob.running(joblog)
    async with open_stream(url_of(api, job)) as stream:
        await stream.until("snapshot")
        for i in range(4):
            await job.progress(i)
            await job.log(f"{i}\r\n\u2028\0")
            await job.output(i, "\U0001f680" * i)
        await job.end()
        await stream.rest()
    whole = [frame.id for frame in SseDecoder().feed(bytes(stream.body))]
    resumed: dict[str, list[str]] = {}
    for cut in range(len(stream.body) + 1):
        client = SseDecoder()
        seen = [frame.id for frame in client.feed(bytes(stream.body[:cut]))]
        last = client.last_event_id
        if last not in resumed and last:
            async with open_stream(url_of(api, job), last_event_id=last) as rest:
                await rest.rest()
            resumed[last] = [frame.id for frame in SseDecoder().feed(bytes(rest.body))]
            assert rest.status == (204 if last == whole[-1] else 200)
        if last:  # before the first id there is nothing to resume: the client starts again
            assert seen + resumed[last] == whole
    assert len(resumed) == len(whole)


# --- odd requests --------------------------------------------------------------------------------


async def raw(api: Api, request: bytes) -> bytes:
    """Send bytes, read to the end of the connection."""
    parts = urlsplit(str(api.http.base_url))
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
    writer.write(request)
    try:
        async with asyncio.timeout(30):
            return await reader.read()
    finally:
        writer.close()


def target(job: PlayedJob) -> bytes:
    return f"/v1/jobs/{job.id}/status/stream".encode()


async def test_http_1_0_gets_a_body_that_ends_with_the_connection(api: Api, joblog: JobLog) -> None:
    """It knows no chunks (RFC 9112 §6.1)."""
    job = await finished_job(joblog)
    reply = await raw(api, b"GET " + target(job) + b" HTTP/1.0\r\nHost: x\r\n\r\n")
    head, _, body = reply.partition(b"\r\n\r\n")
    assert b"chunked" not in head.lower()
    assert head.lower().count(b"connection:") == 1
    assert b"connection: close" in head.lower()
    assert [frame.event for frame in SseDecoder().feed(body)] == ["snapshot", "end"]
    plain = await raw(api, b"GET /healthz HTTP/1.0\r\nHost: x\r\n\r\n")
    assert plain.endswith(b'{"status":"ok"}')


async def test_two_requests_in_one_packet_get_two_answers(api: Api, joblog: JobLog) -> None:
    """In their order, whichever is the stream."""
    job = await finished_job(joblog)
    stream = b"GET " + target(job) + b" HTTP/1.1\r\nHost: x\r\n"
    health = b"GET /healthz HTTP/1.1\r\nHost: x\r\n"
    first = await raw(api, stream + b"\r\n" + health + b"Connection: close\r\n\r\n")
    assert 0 < first.index(b"event: end") < first.index(b'{"status":"ok"}')
    second = await raw(api, health + b"\r\n" + stream + b"Connection: close\r\n\r\n")
    assert 0 < second.index(b'{"status":"ok"}') < second.index(b"event: end")


async def test_a_request_behind_an_open_stream_does_not_hide_that_its_reader_left(
    api: Api, joblog: JobLog
) -> None:
    """The server stops reading then; the next ping finds out, and the stream is closed."""
    job = await PlayedJob.running(joblog)
    parts = urlsplit(str(api.http.base_url))
    for _ in range(5):
        reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
        request = b"GET " + target(job) + b" HTTP/1.1\r\nHost: x\r\n\r\n"
        writer.write(request)
        await reader.readuntil(b"event: snapshot")
        writer.write(request)
        await writer.drain()
        writer.close()
    await eventually(lambda: api.services.hub.streams == 0, "the streams are closed")


async def test_other_methods_and_types_are_refused_in_words(api: Api, joblog: JobLog) -> None:
    """HEAD and POST open nothing; who accepts neither format is told which there are."""
    job = await PlayedJob.running(joblog)
    for method in ("HEAD", "POST", "PUT"):
        answer = await api.http.request(method, url_of(api, job))
        assert answer.status_code == 405
        assert answer.headers["allow"] == "GET"
    wrong = await api.http.get(url_of(api, job), headers={"Accept": "text/html"})
    assert (wrong.status_code, wrong.headers["content-type"]) == (406, "application/problem+json")
    assert "text/event-stream" in wrong.json()["detail"]
    assert api.services.hub.streams == 0


# --- readers that are slow, or gone ----------------------------------------------------------------


async def test_a_reader_that_pauses_loses_progress_and_nothing_else(api: Api, joblog: JobLog) -> None:
    """It takes nothing while 3,000 events happen, and then gets every log line, output and the end, in order."""
    job = await PlayedJob.running(JobLog(joblog._redis, history_limit=100_000))
    count = RING_EVENTS + 100
    async with open_stream(url_of(api, job)) as stream:
        await stream.until("snapshot")
        for i in range(count):
            await job.progress(i)
            await job.log("x" * 300 + str(i))
        await job.end()
        events = await stream.rest()
    assert stream.ended_clean
    logs = [event["message"].lstrip("x") for event in events if event["type"] == "log"]
    assert logs == [str(i) for i in range(count)]
    assert [e["seq"] for e in events if "seq" in e] == sorted({e["seq"] for e in events if "seq" in e})
    assert types(events)[-1] == "end"


async def test_a_reader_that_reads_nothing_is_cut(api: Api, joblog: JobLog) -> None:
    """Its connection is dropped with what was written to it, and another reader notices nothing."""
    job = await PlayedJob.running(joblog)
    async with open_stream(url_of(api, job)) as stalled, open_stream(url_of(api, job)) as other:
        await stalled.until("snapshot")
        reading = asyncio.create_task(other.rest())
        await eventually(lambda: len(api.server.server_state.connections) == 2, "both are connected")
        for protocol in api.server.server_state.connections:
            connection = protocol.transport.get_extra_info("socket")
            held = connection.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF)
            assert held <= 2 * SEND_BUFFER_BYTES  # the kernel doubles it
        stalled._reader._transport.pause_reading()  # type: ignore[attr-defined]
        sent = 0
        while api.services.hub.streams == 2:
            await job.log("x" * 60_000)
            sent += 1
            assert sent < 1000, "the stalled reader is still there"
            await asyncio.sleep(0.005)
        await eventually(lambda: len(api.server.server_state.connections) == 1, "its connection is gone")
        await job.end()
        events = await reading
    assert types(events).count("log") == sent


def open_files() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


async def test_readers_that_connect_and_reset_leave_nothing(api: Api, joblog: JobLog) -> None:
    """500 of them, at every moment: streams, tasks, connections and files return to what they were."""
    job = await PlayedJob.running(joblog)
    parts = urlsplit(str(api.http.base_url))
    request = b"GET " + target(job) + b" HTTP/1.1\r\nHost: x\r\n\r\n"

    async def come_and_go(wait: int) -> None:
        reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
        writer.write(request)
        if wait == 2:
            await reader.readuntil(b"\r\n\r\n")
        elif wait == 1:
            await asyncio.sleep(0)
        connection = writer.get_extra_info("socket")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        writer.transport.abort()

    await come_and_go(2)
    await eventually(lambda: api.services.hub.streams == 0, "the first has gone")
    tasks, files = len(asyncio.all_tasks()), open_files()
    for _ in range(20):
        await asyncio.gather(*(come_and_go(i % 3) for i in range(25)))
    await eventually(lambda: api.services.hub.streams == 0, "no stream is left")
    await eventually(lambda: not api.server.server_state.connections, "no connection is left")
    # The API's background work may have begun a task or opened a connection of its own meanwhile.
    await eventually(lambda: len(asyncio.all_tasks()) <= tasks + 5, "no task is left")
    await eventually(lambda: open_files() <= files + 15, "no file is left open")


async def test_streams_that_open_while_their_jobs_end_end(api: Api, joblog: JobLog) -> None:
    """300 over HTTP: connect and end race, every body ends with the end and the way HTTP says."""

    async def race(number: int) -> None:
        job = await PlayedJob.running(joblog)

        async def end() -> None:
            await asyncio.sleep((number % 10) / 1000)
            await job.end()

        (_, events), _ = await asyncio.gather(read(url_of(api, job)), end())
        assert types(events)[0] == "snapshot"
        assert types(events).count("end") == 1
        assert events[-1]["type"] == "end"

    for start in range(0, 300, 20):
        await asyncio.gather(*(race(start + i) for i in range(20)))


async def test_a_draining_api_ends_every_body(
    tmp_path: Path, redis_server: RedisServer, joblog: JobLog
) -> None:
    """`reconnect`, a spread `retry` that an EventSource obeys, the last chunk; with the shortest grace there is."""
    shortest = settings(tmp_path, redis_server.url, shutdown_grace_seconds=1)
    async with AsyncExitStack() as opened, serving(shortest) as api:
        job = await PlayedJob.running(joblog)
        streams = [await opened.enter_async_context(open_stream(url_of(api, job))) for _ in range(20)]
        for stream in streams:
            await stream.until("snapshot")
        api.server.should_exit = True
        waits = set()
        for stream in streams:
            [goodbye] = await stream.rest()
            assert (goodbye["type"], goodbye["reason"]) == ("reconnect", "shutdown")
            assert stream.ended_clean
            assert stream.decoder.retry_ms == goodbye["retry_ms"]
            waits.add(goodbye["retry_ms"])
        assert len(waits) > 10
