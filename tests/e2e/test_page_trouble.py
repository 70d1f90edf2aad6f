"""The page when something is away: the worker, the server, the way between."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

import pytest

from milepost.ids import new_job_id
from tests.support.page import WatchedPage, tab
from tests.support.proxy import TcpProxy
from tests.support.stack import Stack
from tests.support.wait import eventually

if TYPE_CHECKING:
    from playwright.async_api import Browser, Route

    Start = Callable[..., Awaitable[Stack]]

pytestmark = [pytest.mark.anyio, pytest.mark.browser]

# What Chromium reports by itself when a server is away or refuses; the page says it in its own words.
NETWORK = r"Failed to load resource"


async def test_it_says_loudly_that_no_worker_is_there(stack: Start, browser: Browser) -> None:
    """A job that is submitted meanwhile waits visibly, and runs as soon as a worker comes."""
    running = await stack()
    async with tab(browser, viewport={"width": 1180, "height": 800}) as page:
        await page.goto(running.url)
        running.workers[0].stop()
        notice = page.page.get_by_role("alert").filter(has_text="No worker is running.")
        await notice.wait_for()
        job = await page.start("demo.count", steps=3, delay_seconds=0.1)
        await page.until(job, "Waiting for a worker")
        await page.page.get_by_text("No running worker offers it at the moment").wait_for()
        await page.shoot("no-worker")

        await running.wait_for_worker(running.add_worker())
        await page.until(job, "Succeeded")
        await notice.wait_for(state="hidden")


async def test_before_the_first_worker_it_says_how_to_start_one(stack: Start, browser: Browser) -> None:
    """There is no task to choose, so the button waits; both come by themselves."""
    running = await stack(workers=0)
    async with tab(browser, viewport={"width": 1180, "height": 800}) as page:
        await page.page.goto(running.url)
        await page.page.get_by_text("No worker has offered a task yet.").wait_for()
        assert await page.page.locator("#submit").is_disabled()
        await page.shoot("nothing-yet")
        running.add_worker()
        await page.ready()
        assert await page.page.locator("#task").input_value() == "demo.count"


async def test_a_restarted_server_costs_nothing(stack: Start, browser: Browser) -> None:
    """Connection trouble is told apart from the job; when the server is back the bar goes on, nothing was lost."""
    running = await stack()
    async with TcpProxy(running.url) as proxy, tab(browser) as page:
        page.expect_complaint(NETWORK)
        await page.goto(proxy.url)
        job = await page.start("demo.count", steps=100, delay_seconds=0.1)
        await eventually(lambda: page.percents(job), "it moves")
        await proxy.refuse()
        proxy.drop_all()
        await page.page.get_by_text("cannot be reached").first.wait_for()
        await page.card(job).locator('[part="trouble"]', has_text="Trying again").wait_for()
        assert await page.card(job).locator('[part="status"]').inner_text() == "Running"
        await page.shoot("server-away")

        seen = len(await page.updates(job))
        await proxy.accept()
        await page.page.locator("#notice").wait_for(state="hidden")
        await eventually(lambda: _moved_since(page, job, seen), "the bar goes on")
        assert await page.card(job).locator('[part="trouble"]').inner_text() == ""
        await page.card(job).get_by_role("button", name="Cancel").click()
        await page.until(job, "Cancelled")


async def _moved_since(page: WatchedPage, job: str, seen: int) -> bool:
    return any(one["type"] == "progress" for one in (await page.updates(job))[seen:])


async def test_a_refusal_during_a_deploy_is_not_the_end(house: Stack, browser: Browser) -> None:
    """EventSource gives up for good on a 503; the page comes back after the last event it saw, all the same."""
    async with TcpProxy(house.url) as proxy, tab(browser) as page:
        page.expect_complaint(NETWORK)
        refusals = 0

        async def refuse(route: Route) -> None:
            nonlocal refusals
            refusals += 1
            await route.fulfill(status=503, body="deploying")

        await page.goto(proxy.url)
        job = await page.start("demo.count", steps=40, delay_seconds=0.15)
        await eventually(lambda: page.percents(job), "it moves")
        await page.page.route("**/status/stream*", refuse)
        proxy.drop_all()
        await eventually(lambda: refusals >= 1, "the stream is refused")
        await page.page.unroute("**/status/stream*")
        await page.until(job, "Succeeded")
        assert "?last_event_id=" in page.streams[-1]
        percents = await page.percents(job)
        assert percents == sorted(percents)


async def test_the_goodbye_of_a_server_is_understood(stack: Start, browser: Browser) -> None:
    """On SIGTERM the stream says `reconnect`: the page comes back to the next server, after its last event."""
    running = await stack(apis=2)
    first, second = running.urls
    async with TcpProxy(first) as proxy, tab(browser) as page:
        page.expect_complaint(NETWORK)
        await page.goto(proxy.url)
        job = await page.start("demo.count", steps=60, delay_seconds=0.15)
        await eventually(lambda: page.percents(job), "it moves")
        proxy.retarget(second)
        assert await asyncio.to_thread(running.apis[0].stop) == 0
        await page.until(job, "Succeeded")
        assert "?last_event_id=" in page.streams[-1]


async def test_a_job_that_does_not_exist_is_said_to_be_missing(house: Stack, browser: Browser) -> None:
    """The stream's refusal has no words; a GET has: one look, one sentence, no knocking for ever."""
    async with tab(browser) as page:
        page.expect_complaint("404")
        await page.goto(house.url)
        job = new_job_id()
        await page.page.evaluate(
            """(id) => {
              const element = document.createElement("milepost-progress");
              element.setAttribute("job", id);
              document.querySelector("#jobs").prepend(element);
            }""",
            job,
        )
        element = page.page.locator(f'milepost-progress[job="{job}"]')
        await element.locator('[part="status"]', has_text="Not available").wait_for()
        assert "no job with this id" in await element.locator('[part="trouble"]').inner_text()
        assert len([url for url in page.streams if job in url]) == 1
        await element.evaluate("element => element.remove()")


async def test_a_submission_is_accepted_once_however_often_it_is_sent(house: Stack, browser: Browser) -> None:
    """The answer gets lost, the page asks again with the same key: one job, and no error shown."""
    async with tab(browser) as page:
        page.expect_complaint(NETWORK)
        await page.goto(house.url)
        lost = 0

        async def lose_the_answer(route: Route) -> None:
            nonlocal lost
            if route.request.method == "POST" and lost == 0:
                lost += 1
                await route.fetch()
                await route.abort("connectionreset")
            else:
                await route.continue_()

        tag = new_job_id()
        await page.page.route("**/v1/jobs", lose_the_answer)
        job = await page.start("page.form", text=tag)
        await page.until(job, "Succeeded")
        assert lost == 1
        recent = (await house.http.get("/v1/jobs", params={"task": "page.form", "limit": 20})).json()["items"]
        assert [one["id"] for one in recent if one["result"] and one["result"][0] == tag] == [job]
