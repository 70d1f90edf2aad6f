"""`useJob` under real React, in a real browser and where a server renders."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest

from tests.support.bars import ORIGIN, bundled, rendered, tree
from tests.support.page import WatchedPage

if TYPE_CHECKING:
    from playwright.async_api import Browser

pytestmark = [pytest.mark.anyio, pytest.mark.browser]


@pytest.fixture(scope="module")
def app() -> str:
    """The page of `app.js`: a component in StrictMode, whose client is driven by hand."""
    return bundled("app.js", "browser")


@asynccontextmanager
async def mounted(browser: Browser, app: str, inside: str = "") -> AsyncIterator[WatchedPage]:
    """Open a page with the app in it, over what a server rendered if there is any."""
    async with tree(browser) as page:
        await page.page.goto(f"{ORIGIN}/nothing")
        await page.page.evaluate("(inside) => (document.querySelector('#root').innerHTML = inside)", inside)
        await page.page.add_script_tag(content=app, type="module")
        await page.page.locator("output").wait_for()
        yield page


async def shows(page: WatchedPage, words: str) -> None:
    """Wait until the component says so: id, status, percent, connection, problem."""
    await page.page.locator("output").get_by_text(words, exact=True).wait_for()


async def test_a_component_shows_the_job_and_the_connection_apart(browser: Browser, app: str) -> None:
    """A lost connection leaves the job as it was; the end closes what there is to close."""
    async with mounted(browser, app) as page:
        await shows(page, "a none ? connecting")
        await page.page.evaluate("hand.tell({ job: at(34) })")
        await shows(page, "a running 34 live")
        await page.page.evaluate("hand.tell({ job: at(34), connection: 'reconnecting', problem: 'Away.' })")
        await shows(page, "a running 34 reconnecting Away.")
        await page.page.evaluate("hand.tell({ job: at(100, { status: 'succeeded', done: true }), connection: 'ended' })")
        await shows(page, "a succeeded 100 ended")


async def test_strict_mode_leaves_one_watch_and_unmounting_none(browser: Browser, app: str) -> None:
    """React mounts twice to find what is not given back."""
    async with mounted(browser, app) as page:
        assert await page.page.evaluate("[hand.watches.length, hand.open]") == [2, ["a"]]
        await page.page.evaluate("root.unmount()")
        assert await page.page.evaluate("hand.open") == []


async def test_another_id_is_another_job_at_once(browser: Browser, app: str) -> None:
    """Nothing of the old one is shown under the new id; without an id nothing is followed."""
    async with mounted(browser, app) as page:
        await page.page.evaluate("hand.tell({ job: at(34) })")
        await shows(page, "a running 34 live")
        await page.page.evaluate("follow('b')")
        await shows(page, "b none ? connecting")
        assert await page.page.evaluate("hand.open") == ["b"]
        await page.page.evaluate("follow(null)")
        await page.page.locator("output").wait_for(state="detached")
        assert await page.page.evaluate("hand.open") == []


async def test_actions_are_of_the_job_and_stay_the_same(browser: Browser, app: str) -> None:
    """They can be handed to children: an update makes no new ones."""
    async with mounted(browser, app) as page:
        await page.page.evaluate("window.before = [cancel, retry]")
        await page.page.evaluate("hand.tell({ job: at(34) })")
        await shows(page, "a running 34 live")
        told = await page.page.evaluate(
            "(async () => [before[0] === cancel, before[1] === retry, await cancel(), (await retry()).id, hand.asked])()"
        )
        assert told == [True, True, "requested", "a-again", ["cancel a", "retry a"]]


async def test_what_a_server_renders_is_taken_over_without_a_word(browser: Browser, app: str) -> None:
    """It renders without a document and opens nothing; in the browser React finds the same, and follows."""
    html = rendered(bundled("server.js", "node"))
    assert html == "<output>a none ? connecting </output>"
    async with mounted(browser, app, html) as page:
        await page.page.wait_for_function("window.hand?.open.length === 1")
        await page.page.evaluate("hand.tell({ job: at(34) })")
        await shows(page, "a running 34 live")
