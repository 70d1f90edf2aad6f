"""The shortest way to a stream says what the long way says, and leaves to that whatever is unusual."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import structlog
from milepost_api import database
from milepost_api.app import Application, create_app
from milepost_api.protocol import Begun, Prompt, StreamingProtocol
from redis.asyncio import Redis
from starlette.middleware import Middleware
from starlette.middleware.errors import ServerErrorMiddleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from milepost.log import JobLog
from tests.support.api import Api, announce, serving, settings
from tests.support.jobs import PlayedJob
from tests.support.redis import RedisServer
from tests.support.sse import RawStream, open_stream
from tests.support.wait import eventually

pytestmark = pytest.mark.anyio

LONG = {"Origin": "https://elsewhere.example.org"}
"""What a page of another origin sends goes the long way, where CORS has its say; the same is said here."""


class Watch:
    """Notes which requests an app's `prompt` has answered."""

    def __init__(self, app: Application) -> None:
        assert app.prompt is not None
        self._prompt: Prompt = app.prompt
        self.answered: list[bool] = []
        app.offer(self)

    def __call__(self, scope: Scope) -> Begun | None:
        begun = self._prompt(scope)
        self.answered.append(begun is not None)
        return begun


def watch(api: Api) -> Watch:
    keep_beginnings(api)
    app = api.server.config.app
    assert isinstance(app, Application)
    return Watch(app)


def keep_beginnings(api: Api) -> None:
    """Let the first snapshot of a job serve its later readers for as long as a starved machine may need."""
    api.services.hub.times = replace(api.services.hub.times, share=3600)


def stream_of(api: Api, job_id: str, query: str = "") -> str:
    return f"{api.http.base_url}/v1/jobs/{job_id}/status/stream{query}"


def same_each_time(stream: RawStream) -> tuple[dict[str, str], bytes]:
    """Return the head and the body without what is drawn or counted anew for every stream."""
    head = {k: v for k, v in stream.headers.items() if k not in ("date", "x-request-id")}
    return head, re.sub(rb"retry: \d+\n\n", b"retry\n\n", bytes(stream.body))


@asynccontextmanager
async def watched(api: Api, joblog: JobLog) -> AsyncIterator[tuple[PlayedJob, RawStream]]:
    """A job with five events, and somebody who watches it already."""
    job = await PlayedJob.running(joblog)
    async with open_stream(stream_of(api, job.id), headers=LONG) as first:
        for n in range(3):
            await job.progress(n)
        while '"current":2' not in first.body.decode():
            await anext(first.chunks())
        yield job, first


@pytest.mark.parametrize(
    ("query", "headers"),
    [
        ("", {}),
        ("?last_event_id={cursor}", {}),
        ("", {"Last-Event-ID": "{cursor}"}),
        ("?events=status,log", {}),
        ("", {"Accept": "application/x-ndjson"}),
        ("?last_event_id={last}", {"Accept": "application/x-ndjson"}),
        ("", {"X-Request-ID": "mine-1"}),
        ("", {"Connection": "close"}),
    ],
    ids=[
        *("plain", "cursor-in-query", "cursor-in-header", "kinds"),
        *("ndjson", "ndjson-level", "request-id", "close"),
    ],
)
async def test_both_ways_say_the_same(api: Api, joblog: JobLog, query: str, headers: dict[str, str]) -> None:
    """Head and body are alike to the byte, from the first word to the end of the body."""
    async with watched(api, joblog) as (job, first):
        ids = re.findall(rb"^id: (\S+)", bytes(first.body), re.MULTILINE)
        given = {"cursor": ids[0].decode(), "last": ids[-1].decode()}
        url = stream_of(api, job.id, query.format(**given))
        wanted = {name: value.format(**given) for name, value in headers.items()}
        seen = watch(api)
        async with (
            open_stream(url, headers=wanted) as prompt,
            open_stream(url, headers={**wanted, **LONG}) as long,
        ):
            assert seen.answered == [True, False]
            await job.log("nearly")
            await job.progress(3)
            await job.end()
            for stream in (prompt, long):
                async for _ in stream.chunks():
                    pass
    assert prompt.ended_clean
    assert same_each_time(prompt) == same_each_time(long)
    assert prompt.body.rstrip().rpartition(b"\n")[2].startswith((b"data: ", b"{"))
    for stream in (prompt, long):
        assert re.fullmatch(r"mine-1|[0-9a-f]{12}-[0-9a-f]+", stream.headers["x-request-id"])
    assert ("x-request-id" in map(str.lower, wanted)) == (prompt.headers["x-request-id"] == "mine-1")


async def test_what_is_unusual_goes_the_long_way(api: Api, joblog: JobLog) -> None:
    """Where there is something to find out, to refuse or to wait for, the prompt says nothing at all."""
    async with watched(api, joblog) as (job, _):
        seen, hub = watch(api), api.services.hub
        strange = await PlayedJob.running(joblog)
        before = hub.streams, hub.seats.taken

        async def first(url: str, **how: Any) -> tuple[int, dict[str, Any]]:
            async with open_stream(url, **how) as stream:
                return stream.status, await anext(stream.events())

        assert (await first(stream_of(api, strange.id)))[1]["type"] == "snapshot"
        assert (await first(stream_of(api, job.id), last_event_id="nonsense"))[1]["type"] == "gap"
        assert (await first(stream_of(api, job.id), http="1.0"))[1]["type"] == "snapshot"
        assert (await first(stream_of(api, job.id), headers={"Content-Length": "0"}))[0] == 200
        assert (await first(stream_of(api, job.id, "?min_interval_ms=1")))[0] == 200
        assert seen.answered == [False, False, True]  # the others are not even asked about
        for wrong, status in (("?min_interval_ms=-1", 422), ("?unknown=1", 200)):
            async with open_stream(stream_of(api, job.id, wrong)) as stream:
                assert stream.status == status
        async with open_stream(stream_of(api, job.id), headers={"Accept": "image/png"}) as stream:
            assert stream.status == 406
        hub.seats.limit = hub.seats.taken
        assert (await first(stream_of(api, job.id)))[1]["reason"] == "crowded"
        hub.seats.limit = None
        assert seen.answered[3:] == [False] * 4
        await eventually(lambda: (hub.streams, hub.seats.taken) == before, "all of them have left")
        await job.end()
        async with open_stream(stream_of(api, job.id)) as stream:
            end = (await stream.until("end"))[-1]
        async with open_stream(stream_of(api, job.id), last_event_id=end["cursor"]) as stream:
            assert stream.status == 204


async def test_a_key_opens_the_short_way_too(
    tmp_path: Path, redis_server: RedisServer, redis: Redis, joblog: JobLog
) -> None:
    """And to the jobs of its tenant alone; without one, or with a wrong one, the door stays closed."""
    await announce(redis)
    async with serving(settings(tmp_path, redis_server.url, api_keys="ours,rivals:theirs")) as api:
        api.http.headers["Authorization"] = "Bearer ours"
        job = await api.submit()
        ours = {"Authorization": "Bearer ours"}
        async with open_stream(stream_of(api, job["id"]), headers={**ours, **LONG}):
            seen = watch(api)
            async with open_stream(stream_of(api, job["id"]), headers=ours) as stream:
                assert (stream.status, seen.answered) == (200, [True])
            async with open_stream(stream_of(api, job["id"]), headers={"X-API-Key": "ours"}) as stream:
                assert (stream.status, seen.answered) == (200, [True, True])
            for key, status in (("theirs", 404), ("wrong", 401), ("", 401)):
                async with open_stream(stream_of(api, job["id"]), headers={"X-API-Key": key}) as stream:
                    assert stream.status == status
            assert seen.answered[2:] == [False] * 3


async def test_a_connection_serves_on_after_a_prompt_answer(api: Api, joblog: JobLog) -> None:
    """What was sent behind the stream is answered after its end, and so is what comes later; both know who asks."""
    async with watched(api, joblog) as (job, _):
        seen = watch(api)
        reader, writer = await asyncio.open_connection("127.0.0.1", api.server.config.port)
        get = "GET {} HTTP/1.1\r\nHost: h\r\n\r\n".format
        stream = get(f"/v1/jobs/{job.id}/status/stream").encode()
        writer.write(stream + get("/healthz").encode())
        assert b" 200 OK" in await reader.readuntil(b"\r\n\r\n")
        await reader.readuntil(b'"snapshot"')
        await job.end()
        await reader.readuntil(b"\r\n0\r\n\r\n")
        for again in (False, True):
            if again:
                writer.write(get("/healthz").encode())
            head = await reader.readuntil(b"\r\n\r\n")
            length = int(re.search(rb"content-length: (\d+)", head)[1])  # type: ignore[index]
            assert head.startswith(b"HTTP/1.1 200 OK")
            assert json.loads(await reader.readexactly(length))["status"] == "ok"
        assert seen.answered == [True, False]  # nobody is prompt while a stream is open before it
        writer.close()


async def test_who_asks_is_known_where_it_is_asked(tmp_path: Path, redis_server: RedisServer) -> None:
    """Addresses are looked up for the requests that go the long way."""
    scopes: list[Scope] = []
    async with serving(settings(tmp_path, redis_server.url)) as api:
        app = api.server.config.app
        assert isinstance(app, Application)
        inner = app.middleware_stack
        assert inner is not None

        async def noted(scope: Scope, receive: Receive, send: Send) -> None:
            scopes.append(dict(scope))
            await inner(scope, receive, send)

        app.middleware_stack = noted
        reader, writer = await asyncio.open_connection("127.0.0.1", api.server.config.port)
        writer.write(b"GET /healthz HTTP/1.1\r\nHost: h\r\n\r\n")
        await reader.readuntil(b"\r\n\r\n")
        assert scopes[0]["client"] == writer.get_extra_info("sockname")
        assert scopes[0]["server"] == writer.get_extra_info("peername")
        writer.close()


class Own:
    """A middleware of somebody who uses the app inside of theirs."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self.app(scope, receive, send)


def _with_a_middleware(app: Application) -> None:
    app.add_middleware(Own)


def _with_one_of_starlettes(app: Application) -> None:
    app.add_middleware(TrustedHostMiddleware, allowed_hosts=["*"])


def _within_ours(app: Application) -> None:
    app.user_middleware.append(Middleware(Own))


def _instrumented(app: Application) -> None:
    build = app.build_middleware_stack
    app.build_middleware_stack = lambda: Own(build())  # type: ignore[method-assign]


def _instrumented_below_the_outermost(app: Application) -> None:
    """As the instrumentation of OpenTelemetry does since 0.60."""
    build = app.build_middleware_stack
    app.build_middleware_stack = lambda: ServerErrorMiddleware(Own(build()))  # type: ignore[method-assign]


@pytest.mark.parametrize(
    "put_around",
    [
        *(_with_a_middleware, _with_one_of_starlettes, _within_ours),
        *(_instrumented, _instrumented_below_the_outermost, None),
    ],
)
async def test_what_stands_around_the_app_sees_every_request(
    tmp_path: Path, redis_server: RedisServer, put_around: Callable[[Application], None] | None
) -> None:
    """A middleware or a tracer of whoever runs Milepost is passed by nobody, nor is one that comes later."""
    wanted = settings(tmp_path, redis_server.url)
    await database.prepare(wanted)
    app = create_app(wanted)
    assert isinstance(app, Application)
    if put_around:
        put_around(app)
    app.middleware_stack = app.build_middleware_stack()
    async with app.router.lifespan_context(app):
        assert (app.prompt is None) == (put_around is not None)
        app.middleware_stack = Own(app.middleware_stack)
        assert app.prompt is None


async def test_what_uvicorn_was_told_to_call_sees_every_request(api: Api, joblog: JobLog) -> None:
    """A wrapper around the app that was loaded, as agents put it there, is asked for each stream."""
    seen: list[str] = []
    loaded = api.server.config.loaded_app

    class Agent(Own):
        async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
            seen.append(scope["path"])
            await super().__call__(scope, receive, send)

    async with watched(api, joblog) as (job, _):
        api.server.config.loaded_app = Agent(loaded)
        for _ in range(2):
            async with open_stream(stream_of(api, job.id)) as stream:
                assert stream.status == 200
        api.server.config.loaded_app = loaded
    assert len(seen) == 2


async def test_a_prompt_that_fails_costs_no_answer(api: Api, joblog: JobLog) -> None:
    """It is logged, and the long way has the stream."""

    def fails(_: Scope) -> Begun | None:
        raise ZeroDivisionError

    app = api.server.config.app
    assert isinstance(app, Application)
    app.offer(fails)
    job = await PlayedJob.running(joblog)
    with structlog.testing.capture_logs() as logs:
        async with open_stream(stream_of(api, job.id)) as stream:
            assert (await anext(stream.events()))["type"] == "snapshot"
    assert [entry["event"] for entry in logs if entry["log_level"] == "error"] == ["stream.bug"]


async def test_a_stream_that_cannot_go_on_is_cut_and_keeps_nothing(
    api: Api, joblog: JobLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is our mistake and not the client's: no second answer is written into the first, and no seat stays taken."""

    def fails(*_: object) -> None:
        raise ZeroDivisionError

    async with watched(api, joblog) as (job, _):
        keep_beginnings(api)
        hub = api.services.hub
        before = hub.streams, hub.seats.taken
        for where in ("milepost_api.streaming.lent.LentStream.begin", "milepost_api.protocol._head"):
            with structlog.testing.capture_logs() as logs, monkeypatch.context() as patch:
                patch.setattr(where, fails)
                reader, writer = await asyncio.open_connection("127.0.0.1", api.server.config.port)
                writer.write(f"GET /v1/jobs/{job.id}/status/stream HTTP/1.1\r\nHost: h\r\n\r\n".encode())
                answer = bytearray()
                with suppress(ConnectionResetError):
                    while piece := await reader.read(65536):
                        answer += piece
                writer.close()
            assert b"400" not in answer.partition(b"\r\n")[0]
            assert answer.count(b"HTTP/1.1") <= 1
            assert [entry["event"] for entry in logs if entry["log_level"] == "error"] == ["stream.bug"]
            assert (hub.streams, hub.seats.taken) == before


async def test_a_request_behind_a_stream_that_was_over_at_once_has_its_time(
    api: Api, joblog: JobLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The time that a connection is kept for another request is over when that comes, be it in the same packet."""
    timers: list[asyncio.TimerHandle] = []
    arm = StreamingProtocol.on_response_complete

    def armed(self: StreamingProtocol) -> None:
        arm(self)
        timers.extend(filter(None, [self.timeout_keep_alive_task]))

    monkeypatch.setattr(StreamingProtocol, "on_response_complete", armed)
    hub = api.services.hub
    over = await PlayedJob.running(joblog)
    held = await hub.watch(over.id)
    cursor = f"{held.epoch}-{held.last}"
    await over.end()
    await eventually(lambda: held.done, "its end is heard")
    async with watched(api, joblog) as (job, _):
        seen = watch(api)
        get = "GET /v1/jobs/{}/status/stream HTTP/1.1\r\nHost: h\r\n{}\r\n".format
        reader, writer = await asyncio.open_connection("127.0.0.1", api.server.config.port)
        writer.write((get(over.id, f"Last-Event-ID: {cursor}\r\n") + get(job.id, "")).encode())
        await reader.readuntil(b"\r\n0\r\n\r\n")
        await reader.readuntil(b'"snapshot"')
        assert seen.answered == [True, True]
        assert [timer.cancelled() for timer in timers] == [True]
        writer.close()
    hub.leave(held)


async def test_a_connection_begins_as_uvicorns_own(api: Api) -> None:
    """Nothing that the parent notes when a connection is made is forgotten, but for the addresses."""
    made: dict[type, dict[str, bool]] = {}
    for kind in (StreamingProtocol, HttpToolsProtocol):
        protocol = kind(api.server.config, ServerState(), {}, asyncio.get_running_loop())
        server = await asyncio.get_running_loop().create_server(partial(_the_same, protocol), "127.0.0.1", 0)
        _, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        await eventually(partial(_is_there, protocol), "it is connected")
        made[kind] = {name: value is None for name, value in vars(protocol).items()}
        writer.close()
        server.close()
        await eventually(partial(_has_left, protocol), "it is closed")
    ours, parents = made[StreamingProtocol], made[HttpToolsProtocol]
    assert {name: ours[name] for name in parents} == parents | {"server": True, "client": True}


def _the_same(protocol: HttpToolsProtocol) -> HttpToolsProtocol:
    return protocol


def _is_there(protocol: HttpToolsProtocol) -> bool:
    return protocol.transport is not None


def _has_left(protocol: HttpToolsProtocol) -> bool:
    return protocol.parser is None
