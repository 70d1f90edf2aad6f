"""What a page loads at its first watch, in a real Chromium: through a server that is away, and once for all watches."""

from __future__ import annotations

import asyncio
import re
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.node import node_module
from tests.support.page import WatchedPage, tab
from tests.support.process import ROOT
from tests.support.stack import Stack
from tests.support.wait import eventually

if TYPE_CHECKING:
    from playwright.async_api import Browser, Request, Route

pytestmark = [pytest.mark.anyio, pytest.mark.browser]
UNAVAILABLE = r"Failed to load resource.* 503"
LOST = "A part of this page could not be loaded."


def asked_for(page: WatchedPage, name: str) -> list[str]:
    """Return the addresses of modules that begin so and are asked for from now on, without the folder."""
    asked: list[str] = []

    def note(request: Request) -> None:
        if found := re.search(rf"/(?:src|bundle)/({name}.*)", request.url):
            asked.append(found[1])

    page.page.on("request", note)
    return asked


async def bare(page: WatchedPage, house: Stack, html: str = "") -> None:
    """Open a page of the service's own origin that has nothing but this on it, and no hints."""
    address = f"{house.url}/bare.html"
    body = f'<!doctype html><html lang="en"><link rel="icon" href="data:,"><title>Bare</title>{html}'
    await page.page.route(address, lambda route: route.fulfill(body=body, content_type="text/html"))
    await page.page.goto(address)


async def away(page: WatchedPage, pattern: str) -> asyncio.Event:
    """Let a proxy answer in the server's place until the event is set."""
    back = asyncio.Event()

    async def answer(route: Route) -> None:
        await (route.continue_() if back.is_set() else route.fulfill(status=503))

    page.expect_complaint(UNAVAILABLE)
    await page.page.route(re.compile(pattern), answer)
    return back


@pytest.mark.parametrize("part", ["hub", "line", "sse"])
async def test_a_bar_comes_through_a_server_that_is_away(house: Stack, browser: Browser, part: str) -> None:
    """What follows jobs is not there, or a part of that: the bar says so, asks again, and ends right."""
    job = await house.submit("demo.count", steps=2, delay_seconds=0.1)
    async with tab(browser) as page:
        back = await away(page, rf"/src/{part}\.js")
        asked = asked_for(page, f"{part}.js")
        tags = '<script type="module" src="src/define.js"></script>'
        await bare(page, house, f'{tags}<milepost-progress job="{job["id"]}"></milepost-progress>')
        await page.page.locator("[part=trouble]").get_by_text(f"{LOST} Trying again.").wait_for()
        back.set()
        await page.page.locator("[part=percent]").get_by_text("100%").wait_for()
        assert await page.page.locator("[part=trouble]").text_content() == ""
        connections = [one["connection"] for one in await page.page.evaluate("recorded.updates")]
        assert (connections[0], connections[-1]) == ("reconnecting", "ended")
        assert len(asked) >= 2


async def test_a_bar_is_drawn_when_what_draws_it_comes_late(house: Stack, browser: Browser) -> None:
    """Until then it has its place, its name, and says why there is no more; its height stays."""
    job = await house.submit("demo.count", steps=2, delay_seconds=0.1)
    async with tab(browser) as page:
        back = await away(page, r"/src/drawing\.js")
        tags = '<script type="module" src="src/define.js"></script>'
        await bare(
            page, house, f'{tags}<milepost-progress job="{job["id"]}" label="Mine"></milepost-progress>'
        )
        await page.page.locator("[part=trouble]").get_by_text(LOST).wait_for()
        height = "document.querySelector('milepost-progress').offsetHeight"
        before = await page.page.evaluate(height)
        back.set()
        await page.page.locator("[part=percent]").get_by_text("100%").wait_for()
        assert await page.page.evaluate(height) == before
        assert await page.page.locator("[part=label]").text_content() == "Mine"


def bundle(folder: Path) -> None:
    """Do to the element what bundlers do."""
    options = ("--bundle", "--splitting", "--minify", "--format=esm", f"--outdir={folder}")
    entry = ROOT / "frontend/src/define.js"
    subprocess.run([node_module("esbuild") / "bin/esbuild", entry, *options], check=True, capture_output=True)


async def test_a_bundle_finds_its_late_parts_under_the_names_they_have_there(
    house: Stack, browser: Browser, tmp_path: Path
) -> None:
    """A bundler makes files of its own of them: what is asked for again is those."""
    await asyncio.to_thread(bundle, tmp_path)
    job = await house.submit("demo.count", steps=2, delay_seconds=0.1)
    async with tab(browser) as page:

        async def bundled(route: Route) -> None:
            name = route.request.url.rpartition("/")[2].partition("?")[0]
            await route.fulfill(path=tmp_path / name, content_type="text/javascript")

        await page.page.route("**/bundle/*", bundled)
        back = await away(page, r"/bundle/(hub|drawing)-\w+\.js$")  # under these addresses it stays so
        asked = asked_for(page, "")
        tags = '<script type="module" src="bundle/define.js"></script>'
        await bare(page, house, f'{tags}<milepost-progress job="{job["id"]}"></milepost-progress>')
        await page.page.locator("[part=percent]").get_by_text("100%").wait_for()
        assert not back.is_set()
        for name in ("hub", "drawing"):
            assert [bool(re.fullmatch(rf"{name}-\w+\.js\?again=1", one)) for one in asked].count(True) == 1
        assert len([one for one in asked if one.startswith("chunk")]) == 1


async def test_a_watch_can_be_used_before_what_follows_jobs_is_there(house: Stack, browser: Browser) -> None:
    """Offline it says that it reconnects; what was closed is never asked for; the network brings it."""
    jobs = [(await house.submit("demo.count", steps=2, delay_seconds=0.1))["id"] for _ in range(3)]
    async with tab(browser) as page:
        page.expect_complaint(r"ERR_INTERNET_DISCONNECTED")
        await bare(page, house)
        await page.page.evaluate(
            "import('/src/index.js').then((all) => (window.milepost = all.sharedClient('/')))"
        )
        asked, streams = asked_for(page, "hub.js"), streams_of(page)
        await page.page.context.set_offline(True)
        await page.page.evaluate(
            """(jobs) => {
              window.said = jobs.map(() => [])
              window.watches = jobs.map((id, n) => {
                const watch = milepost.watch(id)
                watch.addEventListener("connection", ({ detail }) => said[n].push(detail.connection))
                return watch
              })
              watches[1].close()
            }""",
            jobs,
        )

        async def said() -> Any:
            return await page.page.evaluate("said")

        await eventually(lambda: bool(asked), "it is asked for")
        await eventually(lost_by(said), "both that are open have been told")
        await page.page.context.set_offline(False)
        await eventually(ended_by(said), "both have ended")
        assert (await said())[1] == []
        assert jobs[1] not in "".join(streams)
        later = await page.page.evaluate(
            """async (id) => {
              const said = []
              for await (const { connection } of milepost.watch(id)) said.push(connection)
              return said.at(-1)
            }""",
            jobs[1],
        )
        assert later == "ended"
        assert re.search(r"again=\d", asked[-1])


def streams_of(page: WatchedPage) -> list[str]:
    """Return the addresses of the streams that the page asks for from now on."""
    streams: list[str] = []

    def note(request: Request) -> None:
        if "status/stream" in request.url:
            streams.append(request.url)

    page.page.on("request", note)
    return streams


def lost_by(said: Any) -> Any:
    async def lost() -> bool:
        first, _, third = await said()
        return "reconnecting" in first and "reconnecting" in third

    return lost


def ended_by(said: Any) -> Any:
    async def ended() -> bool:
        first, _, third = await said()
        return [*first[-1:], *third[-1:]] == ["ended", "ended"]

    return ended
