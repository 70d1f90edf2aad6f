"""The page where keys are set: it asks for one, keeps it in the tab, and shows a token's holder nothing to press."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

import pytest

from tests.support.axe import violations
from tests.support.page import WatchedPage, tab
from tests.support.redis import RedisServer
from tests.support.stack import Stack

if TYPE_CHECKING:
    from playwright.async_api import Browser

pytestmark = [pytest.mark.anyio, pytest.mark.browser]

KEY = f"key-{secrets.token_hex(12)}"
NETWORK = r"Failed to load resource.*40[13]"


@pytest.fixture(scope="module")
async def locked(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stack]:
    """A service that wants a key."""
    folder = tmp_path_factory.mktemp("locked")
    with RedisServer(folder / "redis") as redis:
        async with Stack(folder, redis, settings={"MILEPOST_API_KEYS": KEY}) as running:
            yield running


async def _ask(page: WatchedPage, credential: str) -> None:
    await page.page.get_by_label("API key or token").fill(credential)
    await page.page.get_by_role("button", name="Open").click()


async def test_it_asks_for_a_key_and_opens_with_it(locked: Stack, browser: Browser) -> None:
    """A wrong one is refused in words; the right one is kept over a reload, in this tab only, and in no address."""
    job = (await locked.submit("demo.count", steps=2, delay_seconds=0))["id"]
    async with tab(browser) as page:
        page.expect_complaint(NETWORK)
        await page.page.goto(f"{locked.url}/#/jobs/{job}")
        await page.page.get_by_role("heading", name="This server wants a key").wait_for()
        assert await page.page.evaluate("document.activeElement.id") == "credential"
        assert await violations(page.page) == []
        await page.shoot("key-wanted")
        await _ask(page, "wrong")
        await (
            page.page.get_by_role("alert")
            .filter(has_text="This API key is not one of this server's.")
            .wait_for()
        )
        await _ask(page, KEY)
        await page.until(job, "Succeeded")
        await page.page.reload()
        await page.until(job, "Succeeded")
        assert KEY not in page.page.url
        assert KEY not in await page.page.content()
        assert all(KEY not in url for url in page.streams)
        other = WatchedPage(await page.page.context.new_page())
        other.expect_complaint(NETWORK)
        await other.page.goto(locked.url)
        await other.page.get_by_role("heading", name="This server wants a key").wait_for()
        assert other.complaints == []


async def test_a_key_that_is_taken_back_is_asked_for_again(locked: Stack, browser: Browser) -> None:
    """Whatever answers 401 leads to the form, and what was kept is forgotten."""
    async with tab(browser) as page:
        page.expect_complaint(NETWORK)
        await page.page.goto(locked.url)
        await _ask(page, KEY)
        await page.ready()
        await page.page.route(
            "**/v1/workers",
            lambda route: route.fulfill(
                status=401, json={"detail": "This key was taken back.", "status": 401}
            ),
        )
        await page.page.get_by_text("This key was taken back.").wait_for()
        assert await page.page.evaluate("sessionStorage.length") == 0


async def test_a_token_reads_and_presses_nothing(locked: Stack, browser: Browser) -> None:
    """It is gone from the address bar at once; the list is live; no button, and no view that it cannot read."""
    token = (await locked.http.post("/v1/stream-tokens", json={"all": True})).json()["token"]
    job = (await locked.submit("demo.count", steps=60, delay_seconds=0.1))["id"]
    async with tab(browser, viewport={"width": 1280, "height": 860}) as page:
        await page.page.goto(f"{locked.url}/#token={token}")
        await page.until_row(job, "Running")
        assert token not in page.page.url
        assert await page.page.evaluate("history.length") <= 2
        assert await page.page.get_by_role("link", name="New job").count() == 0
        assert await page.page.get_by_role("link", name="Workers").count() == 0
        assert await page.page.locator(".bulk, .row button").count() == 0
        running = page.page.locator('.counts [data-status="running"] .figure')
        await running.get_by_text("1", exact=True).wait_for()
        await page.shoot("token")
        assert await violations(page.page) == []
        await page.row(job).get_by_role("link").click()
        await page.until(job, "Succeeded")
        assert await page.page.locator("main .head :is(button, a.button)").count() == 0
        assert await page.card(job).get_by_label("Result").inner_text() == "60"


async def test_a_token_of_one_job_opens_that_job(locked: Stack, browser: Browser) -> None:
    """As a link that somebody is sent: the job and nothing else."""
    job = (await locked.submit("demo.count", steps=2, delay_seconds=0))["id"]
    await locked.submit("demo.count", steps=2, delay_seconds=0)
    token = (await locked.http.post("/v1/stream-tokens", json={"jobs": [job]})).json()["token"]
    async with tab(browser) as page:
        await page.page.goto(f"{locked.url}/?job={job}#token={token}")
        await page.until(job, "Succeeded")
        assert token not in page.page.url
        await page.show_list()
        await page.until_row(job, "Succeeded")
        assert await page.job_ids() == [job]
