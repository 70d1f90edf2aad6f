"""The edge: limits, refusals, what the API is told of the client, and what is written down. The files of deploy/."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator
from typing import Self

import httpx2
import pytest

from milepost.background import end
from milepost.ids import new_job_id
from tests.support.api import serving, settings
from tests.support.fronts import SHIPPED, Front, Fronts
from tests.support.ports import free_port
from tests.support.redis import RedisServer
from tests.support.wait import eventually

pytestmark = [pytest.mark.anyio, pytest.mark.parametrize("name", SHIPPED)]

LIMIT = 1024 * 1024


@pytest.fixture(scope="module")
def fronts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fronts]:
    with Fronts(tmp_path_factory.mktemp("edge")) as running:
        yield running


@pytest.fixture(scope="module")
async def doors(tmp_path_factory: pytest.TempPathFactory, fronts: Fronts) -> AsyncIterator[dict[str, Front]]:
    """One API and every proxy in front of it."""
    folder = tmp_path_factory.mktemp("house")
    with RedisServer(folder / "redis") as redis:
        async with serving(settings(folder, redis.url, api_keys="a-secret-key")) as api:
            port = api.services.settings.port
            yield {name: await fronts.start(name, port) for name in SHIPPED}


@pytest.fixture
def front(name: str, doors: dict[str, Front]) -> Front:
    return doors[name]


@pytest.fixture
async def http() -> AsyncIterator[httpx2.AsyncClient]:
    headers = {"Authorization": "Bearer a-secret-key"}
    async with httpx2.AsyncClient(verify=False, trust_env=False, headers=headers, timeout=30) as client:
        yield client


class Upstream:
    """Plays an API that answers everything. `heads` are the requests as they came, each with its connection."""

    def __init__(self) -> None:
        self.heads: list[tuple[asyncio.StreamWriter, str]] = []
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", 0)
        self.port: int = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        await end(*self._tasks)

    def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(self._serve(reader, writer))
        self._tasks.add(task)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.closing(writer), contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
                if "/healthz" not in head:
                    self.heads.append((writer, head))
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")


async def nobody_behind(name: str, fronts: Fronts) -> Front:
    """Put a proxy before APIs that are not there, and wait until it takes connections."""
    # Caddy would wait so long for one to come.
    changes = [("lb_try_duration 10s", "lb_try_duration 200ms")] if name == "caddy" else []
    front = fronts.launch(name, free_port(), free_port(), changes=changes)

    async def answers() -> bool:
        front.process.check_alive()
        async with httpx2.AsyncClient(verify=False, trust_env=False) as client:
            return bool((await client.get(front.url)).status_code)

    await eventually(answers, f"{front.name} listens", ignoring=(httpx2.HTTPError,))
    return front


async def test_the_limit_of_bodies_is_the_apis_own(front: Front, http: httpx2.AsyncClient) -> None:
    """The longest body that the API takes passes; one byte more is refused, announced or not, in its words."""
    address = f"{front.url}/v1/jobs"
    headers = {"Content-Type": "application/json"}

    async def unannounced() -> AsyncIterator[bytes]:
        yield b" " * (LIMIT + 1)

    longest = await http.post(address, content=b" " * LIMIT, headers=headers)
    assert longest.status_code in {400, 422}, "the API has read it: it is not JSON"
    for content in (b" " * (LIMIT + 1), b" " * (3 * LIMIT), unannounced()):
        refusal = await http.post(address, content=content, headers=headers)
        assert (refusal.status_code, refusal.headers["content-type"]) == (413, "application/problem+json")
        assert refusal.json()["type"] == "urn:milepost:problem:too-large"
        assert "1,048,576 bytes" in refusal.json()["detail"]


async def test_an_address_may_name_500_jobs(front: Front, http: httpx2.AsyncClient) -> None:
    """20 kB, which is beyond what nginx and HAProxy take by default."""
    query = "&".join(f"job={new_job_id()}" for _ in range(500))
    assert len(query) > 20_000
    assert (await http.get(f"{front.url}/readyz?{query}")).status_code == 200


async def test_what_was_compressed_is_still_known_by_its_etag(front: Front, http: httpx2.AsyncClient) -> None:
    """The page comes compressed, and is not sent again to who has it."""
    page = await http.get(f"{front.url}/openapi.json")
    assert (page.status_code, page.headers["content-encoding"]) == (200, "gzip")
    script = await http.get(f"{front.url}/src/fold.js")
    again = await http.get(f"{front.url}/src/fold.js", headers={"If-None-Match": script.headers["etag"]})
    assert again.status_code == 304


async def test_the_api_learns_who_asks(name: str, fronts: Fronts, http: httpx2.AsyncClient) -> None:
    """The client's address and scheme are the proxy's word, never the client's; connections to the API are kept."""
    async with Upstream() as upstream:
        front = await fronts.start(name, upstream.port)
        lies = {"X-Forwarded-For": "203.0.113.9", "X-Forwarded-Proto": "gopher", "Last-Event-ID": "abc-7"}
        for number in range(5):
            await http.get(f"{front.url}/{number}", headers=lies)
        assert len(upstream.heads) == 5
        assert len({writer for writer, _ in upstream.heads}) < 5
    for _, head in upstream.heads:
        lines = head.lower().split("\r\n")
        assert lines[0].endswith("http/1.1")
        [address] = [line for line in lines if line.startswith("x-forwarded-for:")]
        assert address in {"x-forwarded-for: 127.0.0.1", "x-forwarded-for: ::1"}
        assert [line for line in lines if line.startswith("x-forwarded-proto:")] == [
            "x-forwarded-proto: https"
        ]
        assert "last-event-id: abc-7" in lines
        assert "connection: close" not in lines


async def test_without_an_api_readers_are_told_to_come_back(
    name: str, fronts: Fronts, http: httpx2.AsyncClient
) -> None:
    """An EventSource gives up for good on 502 and 503: it gets an answer that ends. Others get 503 and a sentence."""
    front = await nobody_behind(name, fronts)
    reader = await http.get(f"{front.url}/v1/jobs/x/status/stream", headers={"Accept": "text/event-stream"})
    assert (reader.status_code, reader.text) == (200, "retry: 3000\n\n")
    assert reader.headers["content-type"].startswith("text/event-stream")
    other = await http.get(f"{front.url}/v1/jobs")
    assert (other.status_code, other.headers["content-type"]) == (503, "application/problem+json")
    assert (other.json()["type"], other.headers["retry-after"]) == ("urn:milepost:problem:unavailable", "3")
    for reply in (reader, other):
        assert reply.headers["cache-control"] == "no-store"


async def test_plain_http_leads_to_tls(name: str, fronts: Fronts, http: httpx2.AsyncClient) -> None:
    """With the method kept. (Caddy's plain port is the one of docker-compose.yml, on this machine only.)"""
    front = await nobody_behind(name, fronts)
    reply = await http.post(f"{front.plain}/v1/jobs?a=b")
    if name == "caddy":
        assert reply.status_code == 503
    else:
        assert (reply.status_code, reply.headers["location"].partition("/v1")[2]) == (308, "/jobs?a=b")


async def test_no_secret_is_written_down(
    name: str, front: Front, fronts: Fronts, http: httpx2.AsyncClient
) -> None:
    """Neither a token in an address nor a key in a header, whether the API answers or not.

    It is the last test of these proxies.
    """
    secrets = {"X-API-Key": "s3cret-key", "Referer": "https://page.example/?token=s3cret-referrer"}
    away = await nobody_behind(name, fronts)
    for asked in (front, away):
        for accept in ("text/event-stream", "application/json"):
            address = f"{asked.url}/v1/jobs/x/status/stream?token=s3cret-token"
            await http.get(address, headers={"Accept": accept, **secrets})
            await http.get(f"{asked.plain}/?token=s3cret-token", headers=secrets)
        await asyncio.to_thread(asked.process.stop)  # so that everything is written
        assert name == "caddy" or '"path":"/v1/jobs/x/status/stream"' in asked.written()
        assert "s3cret" not in asked.written()
        assert "a-secret-key" not in asked.written()
