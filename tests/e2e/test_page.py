"""The page at `/`, as somebody with a browser finds it: real Chromium, real service."""

from __future__ import annotations

import asyncio
from itertools import count
from typing import TYPE_CHECKING

import pytest

from milepost.ids import new_job_id
from tests.support.page import WatchedPage, tab
from tests.support.stack import Stack
from tests.support.wait import eventually

if TYPE_CHECKING:
    from playwright.async_api import Browser, Route

pytestmark = [pytest.mark.anyio, pytest.mark.browser]

DESKTOP = {"width": 1280, "height": 860}


async def test_a_job_is_started_and_seen_from_beginning_to_end(house: Stack, browser: Browser) -> None:
    """Press the button: the page of the job comes, its bar moves up, the result is there, by one stream."""
    async with tab(browser, viewport=DESKTOP) as page:
        await page.goto(house.url)
        await page.page.get_by_role("link", name="New job").click()
        await page.page.locator("#submit:enabled").wait_for()
        await page.shoot("new")
        await page.page.get_by_role("button", name="Start demo.count").click()
        job = await page.new_job()
        await page.shoot("running")
        await page.until(job, "Succeeded")
        await page.card(job).get_by_role("heading", name="Timeline").wait_for()
        await page.shoot("succeeded")

        percents = await page.percents(job)
        assert len(percents) >= 10
        assert percents == sorted(percents)
        assert await page.card(job).locator('[part="bar"]').evaluate("bar => bar.value") == 100
        assert await page.card(job).get_by_label("Result").inner_text() == "20"
        assert '"steps": 20' in await page.card(job).locator('[aria-label="Params"]').inner_text()
        assert page.most_open_streams <= 2  # a moment of two while the one is replaced by the other


async def test_nothing_jumps_while_a_job_runs(house: Stack, browser: Browser) -> None:
    """What is drawn stays where it is (a shift of 0.1 is what people notice, web.dev/cls)."""
    job = (await house.submit("demo.count", steps=40, delay_seconds=0.1))["id"]
    async with tab(browser, viewport=DESKTOP) as page:
        await page.goto(f"{house.url}/#/jobs/{job}")
        await page.until(job, "Succeeded")
        await page.card(job).get_by_label("Result").wait_for()
        shift, what = await page.layout_shift()
        assert shift < 0.05, what


async def test_the_list_is_live(house: Stack, browser: Browser) -> None:
    """Jobs that others submit appear by themselves, newest first, and move, and end."""
    async with tab(browser, viewport=DESKTOP) as page:
        await page.goto(house.url)
        slow = (await house.submit("demo.count", steps=30, delay_seconds=0.2))["id"]
        await page.until_row(slow, "Running")
        seen: set[str] = set()

        async def moves() -> bool:  # while no job begins or ends
            seen.add(await page.row(slow).locator(".percent").inner_text())
            return len(seen) >= 3

        await eventually(moves, "its bar moves in the list")
        quick = (await house.submit("demo.count", steps=2, delay_seconds=0.05))["id"]
        await page.until_row(quick, "Succeeded")
        assert (await page.job_ids())[:2] == [quick, slow]
        assert await page.row(quick).locator("progress").evaluate("bar => bar.value") == 100
        await page.until_row(slow, "Succeeded")
        assert len(page.streams) == 1


async def test_the_newest_job_stands_first_whatever_its_id(house: Stack, browser: Browser) -> None:
    """Clients may choose ids, and those say nothing of the time: on the open page as after a reload."""
    async with tab(browser) as page:
        await page.goto(house.url)
        older = await house.submit("demo.count", steps=2, delay_seconds=0.05)
        await page.until_row(older["id"], "Succeeded")
        body = {"task": "demo.count", "params": {"steps": 2, "delay_seconds": 0.1}}
        chosen = f"0-{new_job_id()}"
        assert (await house.http.put(f"/v1/jobs/{chosen}", json=body)).status_code in (201, 202)
        await page.until_row(chosen, "Succeeded")
        assert (await page.job_ids())[0] == chosen
        await page.page.reload()
        await page.until_row(chosen, "Succeeded")
        assert (await page.job_ids())[0] == chosen


async def test_steps_log_and_outputs_are_told(house: Stack, browser: Browser) -> None:
    """Each has its place, while the job runs as after a reload of its page."""
    async with tab(browser, viewport=DESKTOP) as page:
        await page.goto(house.url)
        job = await page.start("page.steps")
        await page.card(job).get_by_label("Outputs").get_by_text('{"part":4}').wait_for()
        await page.until(job, "Succeeded")
        for again in (False, True):
            if again:
                await page.page.reload()
                await page.until(job, "Succeeded")
            card = page.card(job)
            await card.get_by_label("Log", exact=True).get_by_text("a row looks odd").wait_for()
            await card.get_by_label("Outputs").get_by_text('{"part":0}').wait_for()
            assert await card.get_by_label("Steps").get_by_role("listitem").count() == 2
            assert '"rows": 20' in await card.get_by_label("Result").inner_text()
            await card.get_by_text("Raw events").click()
            await card.get_by_label("Raw events").get_by_text('"type":"end"').wait_for()
        await page.shoot("steps")


async def test_a_deep_link_opens_the_job(house: Stack, browser: Browser) -> None:
    """By the fragment as by the query, which servers and mail programs keep; a wrong one says so, or leads away."""
    job = (await house.submit("demo.count", steps=2, delay_seconds=0))["id"]
    async with tab(browser) as page:
        page.expect_complaint("404")
        for address in (f"/#/jobs/{job}", f"/?job={job}", f"/index.html#/jobs/{job}"):
            await page.page.goto("about:blank")
            await page.goto(house.url + address)
            await page.until(job, "Succeeded")
            assert await page.page.title() == "demo.count – Milepost"
        await page.page.get_by_role("link", name="Jobs", exact=True).first.click()
        await page.until_row(job, "Succeeded")
        await page.show(f"#/jobs/{new_job_id()}")
        await page.page.get_by_text("This job is not here").wait_for()
        await page.shoot("missing")
        await page.page.goto("about:blank")
        await page.goto(f"{house.url}/#/new?task=page.form")
        await page.page.locator("#submit", has_text="Start page.form").wait_for()
        for unknown in ("#/constructor", "#/trends?window=toString"):
            await page.page.goto("about:blank")
            await page.goto(f"{house.url}/{unknown}")


async def test_new_numbers_take_no_focus_away(house: Stack, browser: Browser) -> None:
    """A link stays under the finger while the load of its worker changes; so does a window that was chosen."""
    job = (await house.submit("demo.ticker", symbol="ACME", interval_seconds=1))["id"]
    loads = count(1)

    async def busier(route: Route) -> None:
        answer = await (await route.fetch()).json()
        for worker in answer["items"]:
            worker["load"]["memory_bytes"] = next(loads) * 1_000_000
        await route.fulfill(json=answer)

    async with tab(browser, viewport=DESKTOP) as page:
        await page.page.route("**/v1/workers", busier)
        await page.goto(f"{house.url}/#/workers")
        link = page.page.locator(f'tbody a[href$="{job}"]')
        await link.focus()
        before = await page.page.locator('td[data-head="Load"]').first.inner_text()
        changed = "before => document.querySelector('td[data-head=Load]').innerText !== before"
        await page.page.wait_for_function(changed, arg=before)
        assert await link.evaluate("link => link === document.activeElement")

        await page.show("#/trends")
        hour = page.page.get_by_role("link", name="Last hour")
        await hour.focus()
        await page.page.keyboard.press("Enter")
        await page.page.locator('.windows [aria-current="true"]', has_text="Last hour").wait_for()
        assert await hour.evaluate("link => link === document.activeElement")
        await house.http.post(f"/v1/jobs/{job}/cancel")


async def test_one_thing_is_asked_at_a_time(house: Stack, browser: Browser) -> None:
    """A question that comes late does not take the place of the one that somebody is about to answer."""
    job = (await house.submit("demo.ticker", symbol="ACME", interval_seconds=1))["id"]
    await house.submit("demo.count", steps=1, delay_seconds=0)
    await eventually(lambda: _succeeded(house), "there is something to delete")
    asked = asyncio.Event()

    async def late(route: Route) -> None:
        await asked.wait()
        await route.continue_()

    async with tab(browser, viewport=DESKTOP) as page:
        await page.page.route("**/v1/jobs/delete?*", late)
        await page.goto(f"{house.url}/#/jobs")
        await page.until_row(job, "Running")
        await page.page.get_by_role("button", name="Delete all …").click()
        await page.row(job).get_by_role("button").click()
        dialog = page.page.get_by_role("dialog", name="Cancel demo.ticker?")
        await dialog.wait_for()
        async with page.page.expect_response("**/v1/jobs/delete?*"):
            asked.set()
        await page.confirm("Cancel the job")
        await page.until_row(job, "Cancelled")
        assert await page.page.get_by_role("dialog").count() == 0


async def _succeeded(house: Stack) -> bool:
    return bool((await house.http.get("/v1/jobs/counts")).json()["by_status"]["succeeded"])


async def test_filters_stand_in_the_address(house: Stack, browser: Browser) -> None:
    """Pressed or typed, they can be copied, reloaded, and gone back from."""
    tag = new_job_id()
    body = {"task": "demo.count", "params": {"steps": 3, "delay_seconds": 0}, "tags": [tag]}
    good = (await house.http.post("/v1/jobs", json=body)).json()["id"]
    body["params"] = {"steps": 3, "delay_seconds": 0, "fail_at": 2}
    bad = (await house.http.post("/v1/jobs", json=body)).json()["id"]
    async with tab(browser, viewport=DESKTOP) as page:
        await page.goto(house.url)
        await page.until_row(bad, "Failed")
        await page.page.get_by_label("Tag").fill(tag)
        await eventually(lambda: _lists(page, [bad, good]), "both are listed")
        assert page.page.url.endswith(f"#/jobs?tag={tag}")
        await page.page.locator('.counts [data-status="failed"]').click()
        await eventually(lambda: _lists(page, [bad]), "one is listed")
        assert f"status=failed&tag={tag}" in page.page.url
        succeeded = page.page.locator('.counts [data-status="succeeded"] .figure')
        await succeeded.get_by_text("1", exact=True).wait_for()  # of those that the other filters find

        await page.page.go_back()
        await eventually(lambda: _lists(page, [bad, good]), "both are listed again")
        await page.page.go_forward()
        await eventually(lambda: _lists(page, [bad]), "one is listed again")
        await page.page.reload()
        await eventually(lambda: _lists(page, [bad]), "a reload keeps the filter")
        assert await page.page.get_by_label("Tag").input_value() == tag
        await page.shoot("filtered")

        await page.page.get_by_role("link", name="Clear filters").click()
        await page.page.get_by_role("searchbox").fill(tag[-12:].upper())
        await eventually(lambda: _lists(page, [bad, good]), "the text is found")
        await page.page.get_by_role("searchbox").fill("nothing has this")
        await page.page.get_by_text("No job fits these filters.").wait_for()
        await page.shoot("nothing-fits")


async def _lists(page: WatchedPage, jobs: list[str]) -> bool:
    return await page.job_ids() == jobs


async def test_cancelling_is_asked_for_and_the_focus_comes_back(house: Stack, browser: Browser) -> None:
    """Escape and the other button change nothing; then the bar stops where it stood, and the page says so."""
    async with tab(browser, viewport=DESKTOP) as page:
        await page.goto(house.url)
        job = await page.start("demo.count", steps=100, delay_seconds=0.1)
        await page.until(job, "Running")
        cancel = page.card(job).get_by_role("button", name="Cancel", exact=True)
        await cancel.click()
        await page.page.get_by_role("dialog", name="Cancel demo.count?").wait_for()
        await page.shoot("confirm")
        await page.page.keyboard.press("Escape")
        assert await cancel.evaluate("button => button === document.activeElement")
        await cancel.click()
        await page.confirm("Let it go on")
        assert await cancel.evaluate("button => button === document.activeElement")
        assert (await house.job(job))["cancel_requested"] is False
        await _until_moved(page, job)

        await cancel.click()
        await page.confirm("Cancel the job")
        await page.until(job, "Cancelled")
        assert 0 < await page.card(job).locator('[part="bar"]').evaluate("bar => bar.value") < 100
        await cancel.wait_for(state="hidden")
        await page.shoot("cancelled")


async def _until_moved(page: WatchedPage, job: str) -> None:
    async def moved() -> bool:
        return len(await page.percents(job)) >= 3

    await eventually(moved, f"the bar of {job} moves")


async def test_a_failed_job_says_why_is_run_again_and_deleted(house: Stack, browser: Browser) -> None:
    """The error and where it was raised; the new job has a page of its own, the old one is gone on request."""
    async with tab(browser, viewport=DESKTOP) as page:
        page.expect_complaint("404")
        await page.goto(house.url)
        job = await page.start("demo.count", steps=10, delay_seconds=0.05, fail_at=4)
        await page.until(job, "Failed")
        error = await page.card(job).locator(".error").inner_text()
        assert "RuntimeError" in error
        assert "asked to fail at step 4" in error
        await page.card(job).get_by_label("Traceback").get_by_text("in count").first.wait_for()
        assert await page.card(job).locator('[part="bar"]').evaluate("bar => bar.value") == 30
        await page.shoot("failed")

        await page.card(job).get_by_role("button", name="Run again").click()
        await page.confirm("Run again")
        await page.page.locator(f'section.job:not([id="job-{job}"])').wait_for()
        again = await page.new_job()
        await page.until(again, "Failed")
        assert (await house.job(again))["retry_of"] == job

        await page.card(again).get_by_role("link", name="Change and run").click()
        await page.page.locator("#param-fail_at").wait_for()
        await eventually(lambda: page.page.locator("#param-steps").input_value(), "its params are there")
        assert await page.page.locator("#param-fail_at").input_value() == "4"

        await page.open(job)
        await page.until(job, "Failed")
        await page.card(job).get_by_role("button", name="Delete").click()
        await page.confirm("Delete the job")
        await page.page.locator("section.jobs").wait_for()
        await page.row(again).wait_for()
        assert job not in await page.job_ids()
        assert (await house.http.get(f"/v1/jobs/{job}")).status_code == 404


async def test_bulk_says_how_many_first(house: Stack, browser: Browser) -> None:
    """The dry run names the number; no leaves all as they are, yes does it to those that the filter finds only."""
    tag = new_job_id()
    body = {"task": "demo.ticker", "params": {"symbol": "ACME", "interval_seconds": 0.5}, "tags": [tag]}
    jobs = [(await house.http.post("/v1/jobs", json=body)).json()["id"] for _ in range(3)]
    other = (await house.submit("demo.count", steps=100, delay_seconds=0.1))["id"]
    async with tab(browser, viewport=DESKTOP) as page:
        await page.goto(f"{house.url}/#/jobs?tag={tag}")
        for job in jobs:
            await page.until_row(job, "Running")
        await eventually(lambda: _counted(house, tag, "running"), "the records know")
        cancel = page.page.get_by_role("button", name="Cancel all …")
        await cancel.click()
        dialog = page.page.get_by_role("dialog", name="Cancel 3 jobs?")
        await dialog.get_by_text("3 running").wait_for()
        await page.shoot("bulk")
        await page.confirm("Keep")
        assert await cancel.evaluate("button => button === document.activeElement")
        assert [(await house.job(job))["cancel_requested"] for job in jobs] == [False] * 3

        await cancel.click()
        await page.confirm("Cancel 3 jobs")
        for job in jobs:
            await page.until_row(job, "Cancelled")
        await page.page.get_by_role("status").filter(has_text="3 jobs cancelled.").wait_for()
        assert (await house.job(other))["cancel_requested"] is False
        await eventually(lambda: _counted(house, tag, "cancelled"), "the records know of the ends")

        await page.page.get_by_role("button", name="Delete all …").click()
        await page.confirm("Delete 3 jobs")
        await page.page.get_by_text("No job fits these filters.").wait_for()
        await house.http.post(f"/v1/jobs/{other}/cancel")


async def _counted(house: Stack, tag: str, status: str) -> bool:
    counts = (await house.http.get("/v1/jobs/counts", params={"tag": tag})).json()
    return bool(counts["by_status"][status] == 3)


async def test_what_is_wrong_with_a_param_stands_beside_its_field(house: Stack, browser: Browser) -> None:
    """The server's sentence, tied to the field for those who hear it, and the focus goes there."""
    async with tab(browser, viewport=DESKTOP) as page:
        page.expect_complaint("422")  # Chromium reports every answer that is not ok
        await page.goto(house.url)
        await page.compose("demo.count", steps=0)
        await page.page.locator("#submit").click()
        await page.page.get_by_text("Should be at least 1, is 0.").wait_for()
        field = page.page.locator("#param-steps")
        assert await field.get_attribute("aria-invalid") == "true"
        assert "param-steps-problem" in (await field.get_attribute("aria-describedby") or "")
        assert await field.evaluate("field => field === document.activeElement")
        assert await page.page.locator("#form-problem").inner_text() == ""
        await page.shoot("refused")

        await field.fill("3")
        await page.page.locator("#submit").click()
        await page.until(await page.new_job(), "Succeeded")


async def test_the_form_speaks_the_schema(house: Stack, browser: Browser) -> None:
    """Text, choice, number, nothing, check box and JSON arrive as what they are."""
    async with tab(browser, viewport=DESKTOP) as page:
        await page.goto(house.url)
        await page.compose("page.form", text="a 'quoted' text", colour="green", ratio="0.25", names="[broken")
        await page.shoot("form")
        await page.page.check("#param-loud")
        await page.page.locator("#submit").click()
        await page.page.get_by_text("This should be JSON").wait_for()
        await page.page.fill("#param-names", '["x", "y"]')
        await page.page.locator("#submit").click()
        job = await page.new_job()
        await page.until(job, "Succeeded")
        done = await house.job(job)
        assert done["result"] == ["a 'quoted' text", "green", None, 0.25, True, ["x", "y"]]


async def test_text_from_a_job_is_never_markup(house: Stack, browser: Browser) -> None:
    """Messages, log lines, outputs and results are shown as the text they are, in the list too."""
    async with tab(browser) as page:
        await page.goto(house.url)
        job = await page.start("page.markup")
        await page.until(job, "Succeeded")
        card = page.card(job)
        await card.get_by_label("Log", exact=True).get_by_text("<b>bold</b>").wait_for()
        await card.get_by_label("Outputs").get_by_text("<b>bold</b>").wait_for()
        assert "<b>bold</b>" in await card.locator('[part="message"]').inner_text()
        assert "<b>bold</b>" in await card.get_by_label("Result").inner_text()
        await page.show_list()
        await page.until_row(job, "Succeeded")
        assert "<b>bold</b>" in (await page.row(job).locator(".message").text_content() or "")
        assert await page.page.locator("main img, main b").count() == 0
        assert await page.page.evaluate("window.broken") is None


async def test_a_job_from_a_terminal_is_taught(house: Stack, browser: Browser) -> None:
    """The command that the form shows is the one that does the same."""
    async with tab(browser) as page:
        await page.goto(house.url)
        await page.compose("demo.count", steps=7)
        command = await page.page.locator("#curl").text_content() or ""
        assert f"curl {house.url}/v1/jobs" in command
        assert '{"task":"demo.count","params":{"steps":7,"delay_seconds":0.25}}' in command
        assert f"curl -N {house.url}/v1/jobs/$ID/status/stream" in command


async def test_times_are_local_and_exact_on_hover(house: Stack, browser: Browser) -> None:
    """The zone is the reader's; the whole moment stands in the title and, for machines, in `datetime`."""
    job = await house.submit("demo.count", steps=1, delay_seconds=0)
    async with tab(browser, timezone_id="Asia/Kolkata", locale="en-GB", viewport=DESKTOP) as page:
        await page.goto(house.url)
        await page.until_row(job["id"], "Succeeded")
        time = page.row(job["id"]).locator("time")
        assert await time.get_attribute("datetime") == job["created_at"]
        title = await time.get_attribute("title") or ""
        assert job["created_at"] in title
        assert "GMT+5:30" in title
        local = await page.page.evaluate(
            "at => new Date(at).toLocaleTimeString('en-GB', {timeZone: 'Asia/Kolkata'})", job["created_at"]
        )
        assert await time.inner_text() == local


async def test_a_submission_is_accepted_once_however_often_it_is_sent(house: Stack, browser: Browser) -> None:
    """The answer gets lost, the page asks again with the same key: one job, and no error shown."""
    async with tab(browser) as page:
        page.expect_complaint("Failed to load resource")
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

        text = new_job_id()
        await page.page.route("**/v1/jobs", lose_the_answer)
        job = await page.start("page.form", text=text)
        await page.until(job, "Succeeded")
        assert lost == 1
        recent = (await house.http.get("/v1/jobs", params={"task": "page.form", "limit": 20})).json()["items"]
        assert [one["id"] for one in recent if one["result"] and one["result"][0] == text] == [job]
