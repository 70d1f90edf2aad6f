"""The page among very many jobs: what it draws, asks for and keeps stays small."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.page import WatchedPage, tab
from tests.support.redis import RedisServer
from tests.support.stack import BUILTIN_TASKS, Stack
from tests.support.wait import eventually

if TYPE_CHECKING:
    from playwright.async_api import Browser, CDPSession

pytestmark = [pytest.mark.anyio, pytest.mark.browser, pytest.mark.timeout(600)]

CROWD = 1000
PASSING = 10_000
"""Jobs that a page sees begin and end."""
KEPT_NODES = 6000
KEPT_BYTES = 12_000_000
"""What a page may hold more after ten thousand jobs than after two thousand: about the 500 that it keeps."""

_LONG_TASKS = """() => { window.longTasks = [];
  new PerformanceObserver((list) => longTasks.push(...list.getEntries().map(({ duration }) => duration)))
    .observe({ type: "longtask" }) }"""


@pytest.fixture(scope="module")
async def crowd(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stack]:
    """A service whose one worker runs very many jobs at once."""
    folder = tmp_path_factory.mktemp("crowd")
    settings = {"MILEPOST_CONCURRENCY": str(CROWD + 50), "MILEPOST_LOG_LEVEL": "warning"}
    with RedisServer(folder / "redis") as redis:
        modules = (BUILTIN_TASKS, "tests.support.page_tasks")
        async with Stack(folder, redis, modules=modules, settings=settings) as stack:
            yield stack


async def _submit(crowd: Stack, count: int, task: str, **params: Any) -> None:
    room = asyncio.Semaphore(16)

    async def one() -> None:
        async with room:
            await crowd.submit(task, **params)

    await asyncio.gather(*(one() for _ in range(count)))


async def _figure(page: WatchedPage, status: str) -> int:
    text = await page.page.locator(f'.counts [data-status="{status}"] .figure').inner_text()
    return int(text.replace(",", "").rstrip("+").replace("–", "0"))


async def test_a_thousand_running_jobs_are_smooth(crowd: Stack, browser: Browser) -> None:
    """One stream, some fifty rows in the page however long the list is, and every place of it can be reached."""
    await _submit(crowd, CROWD, "demo.count", steps=100_000, delay_seconds=3)
    async with tab(browser, viewport={"width": 1280, "height": 860}) as page:
        await page.goto(f"{crowd.url}/#/jobs?status=running")

        async def all_there() -> bool:
            setsize = await page.page.locator("li.row").first.get_attribute("aria-setsize")
            return int(setsize or 0) >= CROWD

        await eventually(all_there, "all are listed", deadline=120)
        await page.page.evaluate(_LONG_TASKS)
        rows = page.page.locator("li.row")
        for part in (0.25, 0.5, 0.75, 1, 0):
            await page.page.evaluate("part => scrollTo(0, part * document.body.scrollHeight)", part)
            place = page.page.locator(f'li.row[aria-posinset="{max(1, round(part * CROWD))}"]')
            await place.wait_for()
            assert await rows.count() <= 60
        before = await page.page.locator(".row .message").first.inner_text()
        await eventually(lambda: _says_else(page, before), "the first row moves")
        assert await page.page.evaluate("document.querySelectorAll('*').length") < 2000
        assert len(page.streams) == 1
        await page.shoot("thousand")
        print(f"long tasks, ms: {await page.page.evaluate('longTasks')}")
        await crowd.http.post("/v1/jobs/cancel?all=true")
        await eventually(lambda: _none(page), "all are cancelled", deadline=120)


async def _says_else(page: WatchedPage, before: str) -> bool:
    return await page.page.locator(".row .message").first.inner_text() != before


async def _none(page: WatchedPage) -> bool:
    return await _figure(page, "running") == 0


async def test_what_a_page_keeps_of_ten_thousand_jobs_is_bounded(crowd: Stack, browser: Browser) -> None:
    """Elements and memory after ten thousand jobs that came and went are what they were after two thousand."""
    async with tab(browser, viewport={"width": 1280, "height": 860}) as page:
        await page.goto(crowd.url)
        debugger = await page.page.context.new_cdp_session(page.page)
        held = []
        for count in (2000, PASSING - 2000):
            seen = await _figure(page, "succeeded")
            await _submit(crowd, count, "page.form", text="x")
            await eventually(lambda goal=seen + count: _reached(page, goal), "all ended", deadline=240)  # type: ignore[misc]
            held.append(await _held(debugger))
        (early_bytes, early_nodes), (late_bytes, late_nodes) = held
        print(
            f"after 2,000 jobs {early_bytes:,} B, {early_nodes} nodes; "
            f"after {PASSING:,}: {late_bytes:,} B, {late_nodes}"
        )
        assert late_nodes < early_nodes + KEPT_NODES
        assert late_bytes < early_bytes + KEPT_BYTES
        assert await page.page.locator("li.row").count() <= 60


async def _reached(page: WatchedPage, goal: int) -> bool:
    """Whether the page counts so many; from ten thousand on it says that there are at least so many."""
    return await _figure(page, "succeeded") >= min(goal, 10_000)


async def _held(debugger: CDPSession) -> tuple[float, int]:
    """Return the bytes and the nodes that are left when all garbage is gone."""
    await debugger.send("HeapProfiler.collectGarbage")
    usage = await debugger.send("Runtime.getHeapUsage")
    counters = await debugger.send("Memory.getDOMCounters")
    return float(usage["usedSize"]), int(counters["nodes"])
