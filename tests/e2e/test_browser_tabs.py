"""Many tabs of one browser: one connection for all of them, which is handed over when the tab that holds it is gone."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest

from milepost.background import end
from tests.support.jobs import PlayedJob
from tests.support.middlebox import Middlebox
from tests.support.page_client import ClientTab, dense, ends_right, open_tab, profile, report
from tests.support.page_loose import loose_chromium, loose_profile
from tests.support.stage import Stage
from tests.support.wait import eventually

if TYPE_CHECKING:
    from playwright.async_api import Browser, BrowserContext, Request

pytestmark = [pytest.mark.anyio, pytest.mark.browser]

TABS = 8
"""More than the six connections that a browser opens to a host over HTTP/1.1."""


@asynccontextmanager
async def tabs_on(
    stage: Stage, box: Middlebox, context: BrowserContext, count: int = TABS
) -> AsyncIterator[tuple[list[ClientTab], PlayedJob]]:
    """So many tabs that follow one job."""
    job = await stage.job()
    tabs = [await open_tab(context, box) for _ in range(count)]
    for tab in tabs:
        await tab.follow(job.id)
    for tab in tabs:
        await tab.until_connection(job.id, "live")
    yield tabs, job


class Leaders:
    """Which tab asked for a stream last."""

    def __init__(self, context: BrowserContext) -> None:
        self._asked: list[Request] = []
        context.on("request", self._note)

    def _note(self, request: Request) -> None:
        if request.url.partition("?")[0].endswith("/stream"):
            self._asked.append(request)

    def of(self, tabs: Sequence[ClientTab]) -> ClientTab:
        """Return the tab that holds the stream."""
        page = self._asked[-1].frame.page
        return next(tab for tab in tabs if tab.page is page)


@asynccontextmanager
async def talking(job: PlayedJob) -> AsyncIterator[None]:
    """Let a job say something again and again while the block runs."""

    async def talk() -> None:
        number = 0
        while True:
            await job.log(f"line {number}")
            number += 1
            await asyncio.sleep(0.02)  # the job's own pace

    task = asyncio.create_task(talk())
    try:
        yield
    finally:
        await end(task)


@asynccontextmanager
async def handed_over(
    stage: Stage, box: Middlebox, leaders: Leaders, tabs: list[ClientTab], job: PlayedJob
) -> AsyncIterator[ClientTab]:
    """The tab that holds the stream, which the block does away with: another connects, and those left hear all."""
    leader, streams = leaders.of(tabs), len(box.streams)
    yield leader
    tabs.remove(leader)
    await eventually(lambda: len(box.streams) > streams, "another tab connects")
    seen = await stage.last(job)
    for tab in tabs:
        await tab.until_seq(job.id, seen)


async def test_eight_tabs_live_on_one_connection(stage: Stage, box: Middlebox, browser: Browser) -> None:
    """All see every event, and the page of a ninth still loads: five connections are free for other things."""
    async with profile(browser) as context, tabs_on(stage, box, context) as (tabs, job):
        assert stage.open_streams == 1
        for number in range(5):
            last = await stage.says(job, f"line {number}")
            for tab in tabs:
                await tab.until_seq(job.id, last)
        ninth = await open_tab(context, box)
        assert await ninth.evaluate("async (id) => (await client.get(id)).status", job.id) == "running"
        await ends_right(stage, job, *tabs)
        await eventually(lambda: stage.open_streams == 0, "no stream is left")
        report(f"{TABS} tabs", box, TABS + 2)


async def test_tabs_that_follow_jobs_of_their_own_share_the_connection(
    stage: Stage, box: Middlebox, browser: Browser
) -> None:
    """Three jobs in each of eight tabs, one of them in all: 17 jobs, one stream, every end in its place."""
    common = await stage.job()
    own = [[await stage.job(), await stage.job()] for _ in range(TABS)]
    async with profile(browser) as context:
        tabs = [await open_tab(context, box) for _ in range(TABS)]
        for tab, jobs in zip(tabs, own, strict=True):
            await tab.follow(common.id, *(job.id for job in jobs))
        for tab, jobs in zip(tabs, own, strict=True):
            for job in (common, *jobs):
                await tab.until_connection(job.id, "live")
        await eventually(lambda: box.open_streams == 1, "one stream is left of those that were changed")
        for jobs in own:
            for job in jobs:
                await stage.says(job, "one", "two")
                await job.end()
        await stage.says(common, "the last")
        await common.end()
        for tab, jobs in zip(tabs, own, strict=True):
            for job in (common, *jobs):
                told = await tab.until_right(job.id)
                dense(told, await stage.last(job))
        await eventually(lambda: stage.open_streams == 0, "no stream is left")
        report("17 jobs in eight tabs", box, 60)


async def test_the_tab_that_holds_the_connection_is_closed(
    stage: Stage, box: Middlebox, browser: Browser
) -> None:
    """Again and again, while the job talks: the next one takes over, and nobody misses an event."""
    async with profile(browser) as context:
        leaders = Leaders(context)
        async with tabs_on(stage, box, context, 5) as (tabs, job), talking(job):
            while len(tabs) > 1:
                async with handed_over(stage, box, leaders, tabs, job) as leader:
                    await leader.page.close()
        await ends_right(stage, job, *tabs)
        report("four leaders closed", box, 5 * 3)


async def test_all_tabs_see_the_same_though_the_leader_goes(
    stage: Stage, box: Middlebox, browser: Browser
) -> None:
    """It reloads, and then its process dies without a word: what the six others saw is the whole history."""
    async with profile(browser) as context:
        leaders = Leaders(context)
        async with tabs_on(stage, box, context, TABS) as (tabs, job), talking(job):
            async with handed_over(stage, box, leaders, tabs, job) as leader:
                await leader.page.reload()
            async with handed_over(stage, box, leaders, tabs, job) as leader:
                await crash(leader)
        await ends_right(stage, job, *tabs)
        report("a leader reloaded, another crashed", box, TABS + 12)


async def crash(tab: ClientTab) -> None:
    """Let its process die, which says goodbye to nobody."""
    cdp = await tab.page.context.new_cdp_session(tab.page)
    task = asyncio.ensure_future(cdp.send("Page.crash"))  # answered by nobody
    crashed = asyncio.Event()
    tab.page.on("crash", lambda _: crashed.set())
    async with asyncio.timeout(30):
        await crashed.wait()
    await end(task)


async def test_a_tab_that_leaves_is_forgotten(stage: Stage, box: Middlebox, browser: Browser) -> None:
    """Who closes the page, or goes elsewhere, holds no stream any more; a tab that stays goes on."""
    async with profile(browser) as context, tabs_on(stage, box, context, 3) as (tabs, job):
        await tabs[0].page.close()
        await tabs[1].page.goto("about:blank")
        last = await stage.says(job, "still there")
        await tabs[2].until_seq(job.id, last)
        assert stage.open_streams == 1
        await tabs[2].page.close()
        await eventually(lambda: stage.open_streams == 0, "no stream is left")
        report("tabs that leave", box, 12)


async def test_without_locks_each_tab_has_its_own(stage: Stage, box: Middlebox) -> None:
    """Plain HTTP on another host than this one is no secure context: there are no locks, and it works."""
    job = await stage.job()
    rule = "--host-resolver-rules=MAP app.test 127.0.0.1"
    async with loose_chromium(rule, without=()) as browser, profile(browser) as context:
        insecure = f"http://app.test:{box.port}"
        tabs = [await open_tab(context, box, insecure, page=f"{insecure}/app") for _ in range(2)]
        assert await tabs[0].evaluate("navigator.locks === undefined")
        for tab in tabs:
            await tab.follow(job.id)
            await tab.until_connection(job.id, "live")
        box.cuts()
        await stage.says(job, "one")
        await ends_right(stage, job, *tabs)
        report("without locks", box, 8)


async def test_a_frozen_leader_does_not_hold_up_the_others(stage: Stage, box: Middlebox) -> None:
    """Its lock stays held and its connection open, and it relays nothing: the others notice, and go on without it."""
    job = await stage.job()
    async with loose_chromium() as browser, loose_profile(browser) as tabs:
        first, second = await tabs.tab(box.page), await tabs.tab(box.page)
        leader, other = ClientTab(first.evaluate), ClientTab(second.evaluate)
        for tab in (leader, other):
            await tab.start(box.url)
            await tab.follow(job.id)
            await tab.until_connection(job.id, "live")
        await first.freeze()
        last = await stage.says(job, "one", "two")
        await other.until_seq(job.id, last)
        await stage.says(job, "three")
        await first.wake()
        await ends_right(stage, job, leader, other)
        await eventually(lambda: stage.open_streams == 0, "no stream is left")
        report("a frozen leader", box, 12)
