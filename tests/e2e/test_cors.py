"""Pages of other origins, in a real Chromium: those that are named read everything, all others nothing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx2
import pytest

from milepost.log import JobLog
from tests.support.jobs import PlayedJob
from tests.support.redis import RedisServer
from tests.support.stack import Stack
from tests.support.wait import eventually

if TYPE_CHECKING:
    from playwright.async_api import Browser, Page

pytestmark = pytest.mark.browser

KEY = "key-of-default-0123456789abcdef"
SEEN = "etag, idempotency-replayed, location, preference-applied, retry-after, www-authenticate, x-request-id"


@pytest.fixture(scope="module")
async def sites() -> AsyncIterator[list[str]]:
    """Two other origins on this machine: for browsers another port is somebody else."""
    body = b"<!doctype html><link rel=icon href=data:,><p>app"
    head = (
        b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nConnection: close\r\nContent-Length: %d\r\n\r\n"
        % len(body)
    )

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(asyncio.IncompleteReadError, ConnectionError):  # browsers open some to have them
            await reader.readuntil(b"\r\n\r\n")
            writer.write(head + body)
            await writer.drain()
        writer.close()

    async with AsyncExitStack() as running:
        servers = [
            await running.enter_async_context(await asyncio.start_server(serve, "127.0.0.1", 0))
            for _ in range(2)
        ]
        yield [f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}" for server in servers]


@pytest.fixture
def app(sites: list[str]) -> str:
    return sites[0]


@pytest.fixture
def stranger(sites: list[str]) -> str:
    return sites[1]


@pytest.fixture(scope="module")
async def house(tmp_path_factory: pytest.TempPathFactory, sites: list[str]) -> AsyncIterator[Stack]:
    """An API with a key that one other origin may use."""
    folder = tmp_path_factory.mktemp("cors")
    settings = {
        "MILEPOST_API_KEYS": KEY,
        "MILEPOST_CORS_ORIGINS": sites[0],
        "MILEPOST_REDIS_ANSWER_SECONDS": "3",  # one page waits for it; all others are served in less
    }
    with RedisServer(folder / "redis") as redis:
        async with Stack(folder, redis, workers=0, settings=settings) as running:
            yield running


@asynccontextmanager
async def page_of(browser: Browser, origin: str) -> AsyncIterator[Page]:
    """A page that was served by somebody else."""
    context = await browser.new_context()
    page = await context.new_page()
    await page.goto(f"{origin}/")
    yield page
    await context.close()


_FETCH = """async ([url, init]) => {
  try {
    const reply = await fetch(url, init)
    const seen = ["etag", "location", "retry-after", "x-request-id"].filter((name) => reply.headers.get(name))
    return { status: reply.status, text: await reply.text(), seen }
  } catch (error) { return { error: error.name } }
}"""


async def fetched(page: Page, url: str, **init: Any) -> dict[str, Any]:
    found: dict[str, Any] = await page.evaluate(_FETCH, [url, {**init, "cache": "no-store"}])
    return found


async def token_for(house: Stack, job_id: str) -> str:
    reply = await house.http.post("/v1/stream-tokens", json={"jobs": [job_id]})
    return str(reply.json()["token"])


async def ended(house_log: JobLog) -> tuple[PlayedJob, str]:
    job = await PlayedJob.running(house_log)
    await job.end()
    return job, str((await house_log.read(job.id)).cursor)


async def test_an_eventsource_of_another_origin_follows_a_job_down_to_the_204(
    house: Stack, browser: Browser, house_log: JobLog, app: str
) -> None:
    """It does not close itself: the browser comes back with the cursor, may read the 204, and stops."""
    job = await PlayedJob.running(house_log)
    url = f"{house.stream_url(job.id)}?token={await token_for(house, job.id)}"
    async with page_of(browser, app) as page:
        answers: list[tuple[str, int]] = []
        page.on("response", lambda response: answers.append((response.request.method, response.status)))
        await page.evaluate(
            """(url) => {
              window.source = new EventSource(url); window.got = []
              for (const type of ["snapshot", "log", "end"]) source.addEventListener(type, () => got.push(type))
            }""",
            url,
        )
        await eventually(lambda: page.evaluate("got.length === 1"), "it reads")
        await job.log("line")
        await job.end()
        await eventually(lambda: page.evaluate("source.readyState === 2"), "it was told to stop")
        assert await page.evaluate("got") == ["snapshot", "log", "end"]
        # No preflight: the cursor is a header that needs none (WHATWG Fetch, CORS-safelisted).
        assert answers == [("GET", 200), ("GET", 204)]


async def test_a_page_of_that_origin_can_read_every_kind_of_answer(
    house: Stack, browser: Browser, house_log: JobLog, app: str
) -> None:
    """204, 401, 403, 404, 422 and 503 as well: a page that cannot tell them apart can do nothing about them."""
    job, last = await ended(house_log)
    token = await token_for(house, job.id)
    at = f"{house.url}/v1/jobs/{job.id}"
    async with page_of(browser, app) as page:
        expected = {
            f"{at}?token={token}": 200,
            f"{at}/events?wait=0&after={last}&token={token}": 204,
            f"{at}/status/stream?last_event_id={last}&token={token}": 204,
            at: 401,
            f"{at}?token=nonsense": 401,
            f"{house.url}/v1/jobs?token={token}": 403,
            f"{house.url}/v1/jobs/another?token={token}": 404,
            f"{at}/events?limit=0&token={token}": 422,
        }
        assert {url: (await fetched(page, url)).get("status") for url in expected} == expected
        assert (await fetched(page, f"{at}?token={token}"))["seen"] == ["etag", "x-request-id"]
        house.redis.pause()  # type: ignore[attr-defined]
        running = f"{house.url}/v1/jobs/{(job.id)}/events?wait=0&token={token}"
        away = await fetched(page, running)
        house.redis.resume()  # type: ignore[attr-defined]
        assert (away["status"], "retry-after" in away["seen"]) == (503, True)


async def test_a_page_of_that_origin_can_submit_with_a_key(house: Stack, browser: Browser, app: str) -> None:
    """The preflight is answered without a key, which browsers do not send with it."""
    async with page_of(browser, app) as page:
        reply = await fetched(
            page,
            f"{house.url}/v1/jobs",
            method="POST",
            headers={
                "Authorization": f"Bearer {KEY}",
                "Content-Type": "application/json",
                "Idempotency-Key": "once",
            },
            body='{"task": "nobody.does.it", "allow_unknown_task": true}',
        )
        assert (reply["status"], "location" in reply["seen"]) == (202, True)


async def test_a_page_of_any_other_origin_can_read_nothing(
    house: Stack, browser: Browser, house_log: JobLog, stranger: str
) -> None:
    """Not even with a token: the browser keeps the answer from it, and a POST is not made at all."""
    job, _ = await ended(house_log)
    url = f"{house.stream_url(job.id)}?token={await token_for(house, job.id)}"
    async with page_of(browser, stranger) as page:
        assert await fetched(page, url) == {"error": "TypeError"}
        assert await fetched(
            page, f"{house.url}/v1/jobs", method="POST", headers={"Authorization": f"Bearer {KEY}"}, body="{}"
        ) == {"error": "TypeError"}
        await page.evaluate("(url) => { window.source = new EventSource(url) }", url)
        await eventually(lambda: page.evaluate("source.readyState === 2"), "it is refused")


async def test_the_headers_are_exact(house: Stack, app: str, stranger: str) -> None:
    """One origin, as it was named; no star, no cookies; and caches are told that answers differ by origin."""
    async with httpx2.AsyncClient(base_url=house.url, trust_env=False, verify=False) as http:
        asked = {"Origin": app, "Access-Control-Request-Method": "POST"}
        preflight = await http.options(
            "/v1/jobs", headers={**asked, "Access-Control-Request-Headers": "authorization,idempotency-key"}
        )
        assert preflight.status_code == 200
        assert preflight.headers["access-control-allow-origin"] == app
        assert "access-control-allow-credentials" not in preflight.headers
        assert "Origin" in preflight.headers["vary"]
        refused = await http.options("/v1/jobs", headers={**asked, "Origin": stranger})
        assert "access-control-allow-origin" not in refused.headers
        for path, status in (("/v1/jobs", 401), ("/healthz", 200)):
            reply = await http.get(path, headers={"Origin": app})
            assert (reply.status_code, reply.headers["access-control-allow-origin"]) == (status, app)
            assert sorted(reply.headers["access-control-expose-headers"].lower().split(", ")) == SEEN.split(
                ", "
            )
            other = await http.get(path, headers={"Origin": stranger})
            assert "access-control-allow-origin" not in other.headers


async def test_by_default_no_other_origin_is_named(
    tmp_path: Path, redis_server: RedisServer, app: str
) -> None:
    """No header, and OPTIONS is as closed as everything."""
    async with Stack(tmp_path, redis_server, workers=0, settings={"MILEPOST_API_KEYS": KEY}) as closed:
        asked = {"Origin": app, "Access-Control-Request-Method": "GET"}
        async with httpx2.AsyncClient(base_url=closed.url, trust_env=False, verify=False) as http:
            for method in ("OPTIONS", "GET"):
                reply = await http.request(method, "/v1/jobs", headers=asked)
                assert reply.status_code == 401
                assert not [name for name in reply.headers if name.startswith("access-control-")]
