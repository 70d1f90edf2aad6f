"""The page when something is away: the worker, the server, the way between."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

import pytest

from tests.support.page import WatchedPage, tab
from tests.support.proxy import TcpProxy
from tests.support.stack import Stack
from tests.support.wait import eventually

if TYPE_CHECKING:
    from playwright.async_api import Browser

    Start = Callable[..., Awaitable[Stack]]

pytestmark = [pytest.mark.anyio, pytest.mark.browser]

# What Chromium reports by itself when a server is away or refuses; the page says it in its own words.
NETWORK = r"Failed to load resource"
DESKTOP = {"width": 1280, "height": 860}


async def test_it_says_loudly_that_no_worker_is_there(stack: Start, browser: Browser) -> None:
    """Before the first worker it says how to start one; tasks come by themselves, and go on waiting visibly."""
    running = await stack(workers=0)
    async with tab(browser, viewport=DESKTOP) as page:
        await page.goto(running.url)
        notice = page.page.get_by_role("alert").filter(has_text="No worker is running.")
        await notice.wait_for()
        await page.page.get_by_text("No jobs yet.").wait_for()
        command = await page.page.locator("#empty-curl").inner_text()
        assert f"curl {running.url}/v1/jobs" in command
        await page.shoot("nothing-yet")
        for view in ("tasks", "workers", "queues"):
            await page.show(f"#/{view}")
            await page.page.locator(".empty").get_by_text("milepost worker MODULE").wait_for()
            await page.shoot(f"nothing-yet-{view}")
        await page.show("#/new")
        await page.page.get_by_text("No worker has offered a task yet.").wait_for()
        assert await page.page.locator("#submit").is_disabled()

        worker = running.add_worker()
        await running.wait_for_worker(worker)
        await page.page.locator("#submit:enabled").wait_for()
        assert await page.page.locator("#task").input_value() == "demo.count"
        await notice.wait_for(state="hidden")

        worker.stop()
        await notice.wait_for()
        await page.page.get_by_text("No running worker offers it at the moment").wait_for()
        await page.page.locator("#submit").click()
        job = await page.new_job()
        await page.until(job, "Waiting for a worker")
        await page.show("#/queues")
        await page.page.get_by_text("no worker takes from it").wait_for()
        await page.shoot("no-worker-queues")
        await page.show("#/tasks")
        await page.page.get_by_text("no worker offers it").first.wait_for()
        await running.wait_for_worker(running.add_worker())
        await page.open(job)
        await page.until(job, "Succeeded")


async def test_a_task_that_no_worker_offers_is_said_on_every_view(house: Stack, browser: Browser) -> None:
    """With the command that starts one, how many jobs wait, and a link to them; gone when none waits."""
    body = {"task": "nobody.knows", "allow_unknown_task": True, "queue": "attic"}
    jobs = [(await house.http.post("/v1/jobs", json=body)).json()["id"] for _ in range(2)]
    async with tab(browser, viewport=DESKTOP) as page:
        await page.goto(f"{house.url}/#/workers")
        notice = page.page.get_by_role("alert").filter(has_text="No worker listens on the queue 'attic'")
        await notice.get_by_text("milepost worker MODULE --queue attic").wait_for()
        await notice.get_by_role("link", name="2 jobs wait.").click()
        for job in jobs:
            await page.until_row(job, "Waiting for a worker")
        assert len(await page.job_ids()) == 2
        await page.shoot("nobody-offers")
        for job in jobs:
            await house.http.post(f"/v1/jobs/{job}/cancel")
        await notice.wait_for(state="hidden")


async def test_a_restarted_server_costs_nothing(house: Stack, browser: Browser) -> None:
    """Connection trouble is told apart from the job; when the server is back the bar goes on, nothing was lost."""
    async with TcpProxy(house.url) as proxy, tab(browser, viewport=DESKTOP) as page:
        page.expect_complaint(NETWORK)
        await page.goto(proxy.url)
        job = await page.start("demo.count", steps=200, delay_seconds=0.1)
        await eventually(lambda: page.percents(job), "it moves")
        await proxy.refuse()
        proxy.drop_all()
        await page.page.locator("#notice").get_by_text("cannot be reached").wait_for()
        await page.page.locator("#connection", has_text="Reconnecting").wait_for()
        await page.card(job).locator('[part="trouble"]', has_text="Trying again").wait_for()
        assert await page.card(job).locator('[part="status"]').inner_text() == "Running"
        await page.shoot("server-away")

        seen = len(await page.updates(job))
        await proxy.accept()
        await page.page.locator("#notice").get_by_text("cannot be reached").wait_for(state="hidden")
        await eventually(lambda: _moved_since(page, job, seen), "the bar goes on")
        await page.page.locator("#connection", has_text="Live").wait_for()
        assert await page.card(job).locator('[part="trouble"]').inner_text() == ""
        await page.card(job).get_by_role("button", name="Cancel", exact=True).click()
        await page.confirm("Cancel the job")
        await page.until(job, "Cancelled")


async def _moved_since(page: WatchedPage, job: str, seen: int) -> bool:
    return any(one["type"] == "progress" for one in (await page.updates(job))[seen:])


async def test_the_goodbye_of_a_server_is_understood(stack: Start, browser: Browser) -> None:
    """On SIGTERM the stream says `reconnect`: the page comes back to the next server, and misses nothing."""
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
        percents = await page.percents(job)
        assert percents == sorted(percents)
