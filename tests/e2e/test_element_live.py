"""The elements on a page of the service itself: real jobs, real streams."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.page import WatchedPage, tab
from tests.support.stack import Stack
from tests.support.wait import eventually

if TYPE_CHECKING:
    from playwright.async_api import Browser

pytestmark = [pytest.mark.anyio, pytest.mark.browser]


async def bare(page: WatchedPage, house: Stack, html: str) -> None:
    """Open a page of the service's own origin with these elements on it and nothing else."""
    script = '<script type="module" src="src/define-list.js"></script>'
    body = f'<!doctype html><html lang="en"><title>Bare</title>{script}{html}'
    address = f"{house.url}/bare.html"
    await page.page.route(address, lambda route: route.fulfill(body=body, content_type="text/html"))
    await page.page.goto(address)


async def tagged(house: Stack, steps: int) -> None:
    """Submit a job that the list shows."""
    body = {"task": "demo.count", "params": {"steps": steps, "delay_seconds": 0.1}, "tags": ["listed"]}
    assert (await house.http.post("/v1/jobs", json=body)).status_code == 202


async def test_a_job_is_cancelled_done_again_and_followed_to_its_end(house: Stack, browser: Browser) -> None:
    """Two presses, and the new job runs in the same bar."""
    job = await house.submit("demo.count", steps=200, delay_seconds=0.1)
    async with tab(browser) as page:
        await bare(page, house, f'<milepost-progress job="{job["id"]}" cancel retry></milepost-progress>')
        bar = page.page.locator("milepost-progress")
        status = bar.locator("[part=status]")
        await status.get_by_text("Running").wait_for()
        await bar.get_by_role("button", name="Cancel").click()
        await status.get_by_text("Cancelled").wait_for()
        await page.page.wait_for_timeout(600)  # a second press so soon would be the rest of a double click
        await bar.get_by_role("button", name="Retry").click()
        await bar.locator("[part=attempt]").get_by_text("started again").wait_for()
        again = await bar.get_attribute("job")
        assert again != job["id"]
        assert (await house.job(str(again)))["retry_of"] == job["id"]
        await status.get_by_text("Running").wait_for()
        await bar.get_by_role("button", name="Cancel").click()
        await status.get_by_text("Cancelled").wait_for()


async def test_a_list_follows_the_jobs_of_a_tag(house: Stack, browser: Browser) -> None:
    """Those that are there and those that come, each to its end, over one stream."""
    for _ in range(3):
        await tagged(house, steps=40)
    async with tab(browser) as page:
        streams: list[str] = []
        page.page.on("request", lambda one: streams.append(one.url) if "tag=listed" in one.url else None)
        await bare(page, house, '<milepost-job-list tag="listed"></milepost-job-list>')
        counts = page.page.locator("[part=counts]")
        bars = page.page.locator("milepost-job-list [part=item]")
        await bars.nth(2).wait_for()
        await tagged(house, steps=5)
        await bars.nth(3).wait_for()
        await counts.get_by_text("4 succeeded").wait_for()
        assert len(streams) == 1

        async def full() -> bool:
            every = "all => all.every((bar) => bar.value === 100)"
            return bool(await bars.locator("progress").evaluate_all(every))

        await eventually(full, "all bars are full")
