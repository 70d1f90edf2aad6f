"""What clients send and should not: an answer in words at once, never a 500, never silence."""

from __future__ import annotations

import asyncio
import json
import random
from typing import Any
from urllib.parse import quote, urlsplit

import httpx2
import pytest

from milepost.ids import new_job_id
from tests.support.sse import open_stream
from tests.support.stack import Stack

AT_ONCE = 5.0
"""What a reader waits for the first answer. It comes within milliseconds; the rest is for a busy machine."""


def assert_problem(reply: httpx2.Response, status: int, kind: str) -> dict[str, Any]:
    """A problem document of that type, with a sentence in it."""
    assert reply.status_code == status, reply.text
    assert reply.headers["content-type"] == "application/problem+json"
    document: dict[str, Any] = reply.json()
    assert document["type"].endswith(kind)
    assert document["status"] == status
    assert document["detail"].endswith((".", "?")), document["detail"]
    return document


async def post(service: Stack, **options: Any) -> httpx2.Response:
    return await service.http.post("/v1/jobs", timeout=AT_ONCE, **options)


async def test_an_unknown_task_is_answered_with_the_known_ones(service: Stack) -> None:
    reply = await post(service, json={"task": "demo.cuont", "params": {}})
    assert "demo.count" in json.dumps(assert_problem(reply, 422, "unknown-task"))


@pytest.mark.parametrize(
    ("params", "path"),
    [
        ({"steps": "many"}, "$.params.steps"),
        ({"steps": 0}, "$.params.steps"),
        ({"steps": 3, "delay": 1}, "$.params"),
        ({"steps": 10**30}, "$.params.steps"),
    ],
)
async def test_wrong_params_are_named_by_their_path(
    service: Stack, params: dict[str, Any], path: str
) -> None:
    """Against the schema that the worker announced, before anything is accepted."""
    reply = await post(service, json={"task": "demo.count", "params": params})
    document = assert_problem(reply, 422, "invalid-params")
    assert any(error["path"].startswith(path) for error in document["errors"]), document


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"nonsense",
        b"\xff\xfe\x00",
        b'"text"',
        b"[]",
        b"null",
        b'{"task": NaN}',
        b'{"task": "demo.count", "params": {"steps": NaN}}',
        b'{"task": "demo.count", "params": {"steps": 1e999}}',
        b'{"task": "demo.count", "params": ' + b'{"a":' * 5000 + b"1" + b"}" * 5000 + b"}",
        b"[" * 200_000,
        b'{"task": "\\ud800", "params": {}}',
        b'{"task": "\\u0000", "params": {}}',
    ],
)
async def test_what_is_not_a_submission_is_refused(service: Stack, body: bytes) -> None:
    """Wrong JSON, JSON of something else, numbers that are none, depths that break parsers."""
    reply = await post(service, content=body, headers={"Content-Type": "application/json"})
    assert reply.status_code in (400, 422)
    assert_problem(reply, reply.status_code, reply.json()["type"])


@pytest.mark.parametrize("announced", [True, False])
async def test_20_megabytes_are_refused(service: Stack, announced: bool) -> None:
    """By their length before a byte is read, and at the first byte too many of a chunked body."""
    body = b'{"task": "demo.count", "params": {"x": "' + b"x" * 20_000_000 + b'"}}'

    async def pieces() -> Any:
        for start in range(0, len(body), 65_536):
            yield body[start : start + 65_536]

    content = body if announced else pieces()
    reply = await service.http.post(
        "/v1/jobs", content=content, headers={"Content-Type": "application/json"}, timeout=30
    )
    assert_problem(reply, 413, "too-large")


async def test_a_job_that_there_is_not_is_404(service: Stack) -> None:
    """On every address that names one, whatever stands in the place of the id."""
    for job_id in (new_job_id(), "x", "x" * 64, "x" * 65, "%00", "a%2fb", "\u00fc", "'; drop table jobs"):
        for rest in ("", "/status", "/status/stream", "/result", "/events"):
            reply = await service.http.get(f"/v1/jobs/{quote(job_id, safe='%')}{rest}", timeout=AT_ONCE)
            assert reply.status_code == 404, (job_id, rest, reply.text)
            assert_problem(reply, 404, "not-found")


# --- cursors -------------------------------------------------------------------------------------


async def first_event(url: str, cursor: bytes, *, by_query: bool = False) -> tuple[int, dict[str, Any]]:
    """Send raw bytes as the cursor and return the status and the first event, or the problem."""
    if by_query:
        sep = "&" if "?" in url else "?"
        async with (
            asyncio.timeout(AT_ONCE),
            open_stream(f"{url}{sep}last_event_id={quote(cursor)}") as stream,
        ):
            return stream.status, await anext(stream.events())
    parts = urlsplit(url)
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port, limit=1 << 22)
    try:
        async with asyncio.timeout(AT_ONCE):
            writer.write(
                f"GET {parts.path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nLast-Event-ID: ".encode()
                + cursor
                + b"\r\n\r\n"
            )
            await writer.drain()
            head = await reader.readuntil(b"\r\n\r\n")
            status = int(head.split(b" ")[1])
            if status != 200:
                return status, {}
            await reader.readuntil(b"data: ")
            return status, json.loads(await reader.readuntil(b"\n"))
    finally:
        writer.close()


@pytest.fixture
async def running_job(service: Stack) -> Any:
    """A job that goes on; cancelled afterwards."""
    job = await service.submit("demo.ticker", symbol="ACME", interval_seconds=60)
    yield job
    assert (await service.http.post(job["urls"]["cancel"])).status_code == 200


@pytest.mark.parametrize("by_query", [False, True])
async def test_a_hostile_cursor_is_a_gap(service: Stack, running_job: dict[str, Any], by_query: bool) -> None:
    """Garbage, a megabyte, the future, another job's, below zero, bytes that are no ASCII."""
    url = service.stream_url(running_job["id"])
    status, snapshot = await first_event(url, b"")
    assert (status, snapshot["type"]) == (200, "snapshot")
    epoch = snapshot["cursor"].split("-")[0]
    other = await service.submit("demo.count", steps=1, delay_seconds=0)
    async with open_stream(service.stream_url(other["id"])) as stream:
        end = (await stream.until("end"))[-1]
    wrong = {
        "garbage": "invalid",
        "x" * (6_000 if by_query else 1_000_000): "invalid",
        f"{epoch}-999999999": "ahead",
        f"{epoch}-999999999999999": "ahead",
        f"{epoch}-9999999999999999": "invalid",
        end["cursor"]: "epoch",
        f"{epoch}--1": "invalid",
        f"{epoch}-1.5": "invalid",
        f"{epoch}-\u0661": "invalid",
        f" {epoch}-1 x": "invalid",
        "\xff\xfe": "invalid",
    }
    for cursor, reason in wrong.items():
        status, event = await first_event(url, cursor.encode("utf-8"), by_query=by_query)
        assert (status, event["type"], event.get("reason")) == (200, "gap", reason), cursor[:80]
        assert len(event["requested"]) <= 64


async def test_300_made_up_cursors_get_an_answer(service: Stack, running_job: dict[str, Any]) -> None:
    """A gap, or what a valid one asks for; a header that HTTP forbids is refused by it. Never a 500."""
    url = service.stream_url(running_job["id"])
    chance = random.Random(20261121)
    epoch = (await first_event(url, b""))[1]["cursor"].split("-")[0].encode()
    pieces = [
        epoch,
        b"-",
        b"0",
        b"1",
        b"99",
        b"\xff",
        b"\x80",
        b"%00",
        b"\t",
        b" ",
        b":",
        b"e",
        b"\xe2\x80\xa8",
        b"-1",
    ]

    def made_up() -> bytes:
        if chance.random() < 0.3:
            return chance.randbytes(chance.randrange(1, 40)).replace(b"\n", b"").replace(b"\r", b"")
        return b"".join(chance.choices(pieces, k=chance.randrange(1, 6)))

    async def one(cursor: bytes) -> None:
        status, event = await first_event(url, cursor)
        assert status in (200, 400), cursor
        assert status == 400 or event["type"] in ("gap", "snapshot", "status", "progress", "output"), cursor

    for _ in range(30):
        await asyncio.gather(*(one(made_up()) for _ in range(10)))
    for process in service.apis:
        assert "Traceback" not in process.output()
