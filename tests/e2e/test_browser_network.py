"""Client and bar in Chromium when the way to the API is in trouble: each ends with the right bar, without a storm."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.support.middlebox import Middlebox
from tests.support.page_client import ends_right, open_tab, profile, report
from tests.support.stack import Stack
from tests.support.stage import Stage
from tests.support.wait import eventually

if TYPE_CHECKING:
    from playwright.async_api import Browser

pytestmark = [pytest.mark.anyio, pytest.mark.browser]

DEPLOY_SECONDS, OUTAGE_SECONDS = 5, 30
"""How long a deploy takes, and a network is cut. It is what happens to the page, nothing that a test waits for."""

MOST_TRIES = 40
"""In such an outage, with waits of 0 to 1 s: about 10 of them. A storm would be hundreds."""


@pytest.mark.parametrize("status", [502, 503])
async def test_a_proxy_that_refuses_for_a_while_is_outlasted(
    stage: Stage, box: Middlebox, browser: Browser, status: int
) -> None:
    """A native EventSource would be closed for good; ours goes on after the last event that it saw."""
    job = await stage.job()
    async with profile(browser) as context:
        tab = await open_tab(context, box)
        await tab.follow(job.id)
        await tab.until_told(job.id)
        await tab.hurry()
        box.answers(status)
        box.cuts()
        await asyncio.sleep(DEPLOY_SECONDS)
        await stage.says(job, "during", "the deploy")
        box.passes()
        await stage.says(job, "after")
        await tab.until_seq(job.id, await stage.last(job))
        await ends_right(stage, job, tab)
        assert "reconnecting" in (await tab.told(job.id))["connections"]
        report(f"{status} for {DEPLOY_SECONDS} s", box, MOST_TRIES)


async def test_a_proxy_that_gathers_whole_bodies_is_polled_through(
    stage: Stage, box: Middlebox, browser: Browser
) -> None:
    """Not a byte of a stream comes out while it lasts: the client asks by long-poll instead, and sees every event."""
    job = await stage.job()
    box.gathers()
    async with profile(browser) as context:
        tab = await open_tab(context, box)
        await tab.hurry()
        await tab.follow(job.id)
        await tab.until_told(job.id)
        for number in range(5):
            await job.log(f"line {number}")
            await tab.until_seq(job.id, await stage.last(job))
        await tab.until_connection(job.id, "polling")
        await ends_right(stage, job, tab)
        report("gathered bodies", box, 30)


async def test_a_proxy_that_begins_to_gather_is_polled_through(
    stage: Stage, box: Middlebox, browser: Browser
) -> None:
    """The stream worked, and the one after it does not: no event is lost in between."""
    job = await stage.job()
    async with profile(browser) as context:
        tab = await open_tab(context, box)
        await tab.follow(job.id)
        await tab.until_connection(job.id, "live")
        await tab.hurry()
        box.gathers()
        box.cuts()
        await stage.says(job, "one", "two")
        await tab.until_seq(job.id, await stage.last(job))
        await ends_right(stage, job, tab)
        report("gathered from the second stream on", box, 30)


async def test_a_network_that_is_off_is_waited_for(stage: Stage, box: Middlebox, browser: Browser) -> None:
    """The browser says `offline`: what happened meanwhile is there as soon as it says `online`."""
    job = await stage.job()
    async with profile(browser) as context:
        tab = await open_tab(context, box)
        await tab.follow(job.id)
        await tab.until_connection(job.id, "live")
        await context.set_offline(True)
        box.cuts()
        await tab.until_connection(job.id, "reconnecting")
        await stage.says(job, "nobody", "hears", "this")
        await asyncio.sleep(OUTAGE_SECONDS)
        await context.set_offline(False)
        await tab.until_seq(job.id, await stage.last(job))
        await ends_right(stage, job, tab)
        report("offline", box, 8)  # tries without a network get nowhere near the box


async def test_a_connection_that_is_dead_without_a_word_is_noticed(
    stage: Stage, box: Middlebox, browser: Browser
) -> None:
    """What a router does that forgets: not even a ping comes any more, so the client opens another stream."""
    job = await stage.job()
    async with profile(browser) as context:
        tab = await open_tab(context, box)
        await tab.follow(job.id)
        await tab.until_connection(job.id, "live")
        before = len(box.streams)
        await tab.hurry()
        box.deadens()
        await stage.says(job, "into", "the void")
        await tab.until_seq(job.id, await stage.last(job))
        assert len(box.streams) > before
        await ends_right(stage, job, tab)
        report("a dead connection", box, 8)


async def test_a_network_that_swallows_everything_is_outlasted(
    stage: Stage, box: Middlebox, browser: Browser
) -> None:
    """Connections open and nothing comes: tries are given up one after the other, and not piled up."""
    job = await stage.job()
    async with profile(browser) as context:
        tab = await open_tab(context, box)
        await tab.follow(job.id)
        await tab.until_connection(job.id, "live")
        await tab.hurry()
        await stage.says(job, "now")  # what is heard starts the watchdog anew
        box.swallows()
        await stage.says(job, "into", "the void")
        await tab.until_connection(job.id, "reconnecting")
        await eventually(lambda: len(box.asked) >= 4, "it has tried again and given up")
        still_open = sum(not one.over for one in box.asked)
        assert still_open <= 4, "\n".join(map(str, box.asked))
        box.passes()
        await tab.until_seq(job.id, await stage.last(job))
        await ends_right(stage, job, tab)
        report("a network that swallows", box, 20)


async def test_a_server_that_is_restarted_is_not_missed(
    stage: Stage, browser: Browser, process: Stack
) -> None:
    """It says goodbye, is away, and comes back as another process: the page goes on after its last event."""
    job = await stage.job()
    async with Middlebox(process.url) as box, profile(browser) as context:
        tab = await open_tab(context, box)
        await tab.follow(job.id)
        await tab.until_connection(job.id, "live")
        await tab.hurry()
        server = process.apis[0]
        assert await asyncio.to_thread(server.stop) == 0
        await stage.says(job, "nobody", "relays", "this")
        server.start()
        await process.wait_for_api(server)
        await tab.until_seq(job.id, await stage.last(job))
        await asyncio.to_thread(server.kill)
        await stage.says(job, "nor", "this")
        server.start()
        await process.wait_for_api(server)
        await tab.until_seq(job.id, await stage.last(job))
        await ends_right(stage, job, tab)
        report("a server stopped, then killed", box, 2 * MOST_TRIES)


@pytest.fixture
async def process(tmp_path: Path, stage: Stage) -> AsyncIterator[Stack]:
    """An API with the same jobs in a process of its own, which may be ended."""
    async with Stack(tmp_path, stage.redis_server, workers=0) as running:
        yield running
