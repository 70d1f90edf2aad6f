"""HTTP/2 from a real browser to each proxy: as many streams in a tab as a page wants."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from redis.asyncio import Redis

from milepost.log import JobLog
from tests.support.api import Api, serving, settings
from tests.support.fronts import SHIPPED, Fronts
from tests.support.jobs import PlayedJob
from tests.support.redis import RedisServer
from tests.support.wait import eventually

if TYPE_CHECKING:
    from playwright.async_api import Browser, Page

pytestmark = [pytest.mark.anyio, pytest.mark.browser]

STREAMS = 50
SIX = 6
"""Connections that a browser opens to a host over HTTP/1.1, in all its tabs together."""

_LISTEN = """(ids) => {
  window.seen = Object.fromEntries(ids.map((id) => [id, []]));
  for (const id of ids) {
    const source = new EventSource(`/v1/jobs/${id}/status/stream`);
    for (const type of ["snapshot", "log", "end"])
      source.addEventListener(type, () => {
        seen[id].push(type);
        if (type === "end") source.close();
      });
  }
}"""


@pytest.fixture
async def api(tmp_path: Path, redis_server: RedisServer) -> AsyncIterator[Api]:
    async with serving(settings(tmp_path, redis_server.url)) as running:
        yield running


async def open_page(browser: Browser, url: str) -> tuple[Page, str]:
    """Open something small from there; return the page and the protocol by which it came."""
    context = await browser.new_context(ignore_https_errors=True)
    page = await context.new_page()
    await page.goto(f"{url}/healthz")
    protocol: str = await page.evaluate("performance.getEntriesByType('navigation')[0].nextHopProtocol")
    return page, protocol


async def how_many_saw(page: Page, kinds: list[str]) -> int:
    """Return how many of the page's streams have seen exactly this."""
    seen: dict[str, list[str]] = await page.evaluate("seen")
    return sum(each == kinds for each in seen.values())


@pytest.mark.parametrize("name", SHIPPED)
async def test_fifty_streams_live_in_one_tab(
    tmp_path: Path, api: Api, redis: Redis, browser: Browser, name: str
) -> None:
    """All at once, each with its own events, each to its own end."""
    joblog = JobLog(redis)
    jobs = [await PlayedJob.running(joblog) for _ in range(STREAMS)]
    with Fronts(tmp_path) as fronts:
        front = await fronts.start(name, api.services.settings.port)
        page, protocol = await open_page(browser, front.url)
        assert protocol == "h2"
        await page.evaluate(_LISTEN, [job.id for job in jobs])

        async def all_saw(*kinds: str) -> None:
            async def they_did() -> bool:
                return await how_many_saw(page, list(kinds)) == STREAMS

            await eventually(they_did, f"all streams have seen {kinds}")

        await all_saw("snapshot")
        assert api.services.hub.streams == STREAMS
        for job in jobs:
            await job.log("news")
        await all_saw("snapshot", "log")
        for job in jobs:
            await job.end()
        await all_saw("snapshot", "log", "end")
        await eventually(lambda: api.services.hub.streams == 0, "the API has no stream left")
        await page.context.close()


async def test_without_a_proxy_there_are_six(api: Api, redis: Redis, browser: Browser) -> None:
    """Over HTTP/1.1 the others wait until one of the six ends: this is what HTTP/2 is for."""
    joblog = JobLog(redis)
    jobs = [await PlayedJob.running(joblog) for _ in range(STREAMS)]
    page, protocol = await open_page(browser, f"http://127.0.0.1:{api.services.settings.port}")
    assert protocol == "http/1.1"
    await page.evaluate(_LISTEN, [job.id for job in jobs])

    async def six_are_open() -> bool:
        return await how_many_saw(page, ["snapshot"]) == SIX

    await eventually(six_are_open, "six streams are open")
    assert api.services.hub.streams == SIX
    for job in jobs:
        await job.end()  # whoever gets its turn now sees the end at once and makes room for the next

    async def all_ended() -> bool:
        seen: dict[str, list[str]] = await page.evaluate("seen")
        return all(each == ["snapshot", "end"] for each in seen.values())

    await eventually(all_ended, "all streams have had their turn")
    await page.context.close()
