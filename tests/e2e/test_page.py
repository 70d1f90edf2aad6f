"""The page at `/`, as somebody with a browser finds it: real Chromium, real service."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.page import WatchedPage, tab
from tests.support.stack import Stack
from tests.support.wait import eventually

if TYPE_CHECKING:
    from playwright.async_api import Browser

pytestmark = [pytest.mark.anyio, pytest.mark.browser]


async def test_one_click_shows_a_job_from_beginning_to_end(house: Stack, browser: Browser) -> None:
    """Press the big button: the bar moves up, the result is there, one connection was made and closed."""
    async with tab(browser, viewport={"width": 1180, "height": 800}) as page:
        await page.goto(house.url)
        await page.shoot("fresh")
        await page.page.get_by_role("button", name="Start demo.count").click()
        job = await page.new_job([])
        await page.shoot("running")
        await page.until(job, "Succeeded")
        await page.shoot("succeeded")

        percents = await page.percents(job)
        assert len(percents) >= 10
        assert percents == sorted(percents)
        assert await page.card(job).locator("progress").evaluate("bar => bar.value") == 100
        assert "Result 20" in await page.card(job).inner_text()
        assert [url for url in page.streams if job in url] == [house.stream_url(job)]
        await eventually(lambda: page.open_streams == 0, "the stream is closed")


async def test_nothing_jumps_while_a_job_runs(house: Stack, browser: Browser) -> None:
    """What is drawn stays where it is (a shift of 0.1 is what people notice, web.dev/cls)."""
    async with tab(browser, viewport={"width": 1180, "height": 800}) as page:
        await page.goto(house.url)
        job = await page.start("page.steps")
        await page.until(job, "Succeeded")
        shift, what = await page.layout_shift()
        assert shift < 0.05, what


async def test_several_jobs_move_at_once(house: Stack, browser: Browser) -> None:
    """Each has its own bar, log and end."""
    async with tab(browser) as page:
        await page.goto(house.url)
        counted = await page.start("demo.count", steps=12, delay_seconds=0.2)
        blocking = await page.start("demo.blocking", steps=12, delay_seconds=0.2)
        stepped = await page.start("page.steps")
        assert (await page.job_ids())[:3] == [stepped, blocking, counted]

        for job in (counted, blocking, stepped):
            await page.until(job, "Succeeded")
            assert len(await page.percents(job)) >= 5
        log = await page.card(stepped).locator("ol").inner_text()
        assert "fetching" in log
        assert "a row looks odd" in log
        assert '{"part":4}' in log
        assert '"rows": 20' in await page.card(stepped).inner_text()
        await page.shoot("several")


async def test_ten_jobs_move_in_one_tab_and_another_can_be_started(house: Stack, browser: Browser) -> None:
    """Six connections are all that a browser has: four carry streams, the rest of the jobs take turns."""
    async with tab(browser) as page:
        await page.goto(house.url)
        jobs = [await page.start("demo.count", steps=40, delay_seconds=0.25) for _ in range(10)]
        eleventh = await page.start("page.form", text="quick")
        await page.until(eleventh, "Succeeded")
        await page.shoot("ten")
        for job in jobs:
            await _until_moved(page, job)
        assert {one["connection"] for job in jobs for one in await page.updates(job)} >= {"live", "polling"}
        assert page.most_open_streams <= 4
        for job in jobs:
            await page.until(job, "Succeeded")


async def test_two_tabs_share_what_the_browser_allows(house: Stack, browser: Browser) -> None:
    """The limit counts over all tabs: the second one must not starve, nor the first."""
    context = await browser.new_context()
    async with tab(browser, context) as first, tab(browser, context) as second:
        await first.goto(house.url)
        jobs = [await first.start("demo.count", steps=40, delay_seconds=0.2) for _ in range(5)]
        await second.goto(house.url)
        for page in (first, second):
            for job in jobs:
                await _until_moved(page, job)
        assert first.most_open_streams + second.most_open_streams <= 8
        assert first.open_streams + second.open_streams <= 4
        for job in jobs:
            await second.until(job, "Succeeded")
    await context.close()


async def _until_moved(page: WatchedPage, job: str) -> None:
    """Wait until the bar of a job has stood at several places, while it was running."""

    async def moved() -> bool:
        return len(await page.percents(job)) >= 4

    await eventually(moved, f"the bar of {job} moves")


async def test_a_reload_finds_every_job_again(house: Stack, browser: Browser) -> None:
    """The page keeps nothing: what runs goes on moving, what has ended is there with its result and its log."""
    async with tab(browser) as page:
        await page.goto(house.url)
        ended = await page.start("page.steps")
        await page.until(ended, "Succeeded")
        running = await page.start("demo.ticker", symbol="GLOBEX", interval_seconds=0.1)
        await page.card(running).locator("ol li").nth(4).wait_for()
        await page.page.reload()
        await page.ready()

        await page.until(running, "Running")
        await page.card(running).get_by_text('"tick":0}').wait_for()  # what was said before the reload, too
        assert '"rows": 20' in await page.card(ended).inner_text()
        await page.card(ended).get_by_text("Log").click()
        await page.card(ended).get_by_text("a row looks odd").wait_for()
        await page.shoot("reloaded")
        await page.card(running).get_by_role("button", name="Cancel").click()
        await page.until(running, "Cancelled")


async def test_a_running_job_can_be_cancelled(house: Stack, browser: Browser) -> None:
    """The button asks, the bar stops where it stood, and the card says so."""
    async with tab(browser) as page:
        await page.goto(house.url)
        job = await page.start("demo.count", steps=100, delay_seconds=0.1)
        await _until_moved(page, job)
        await page.card(job).get_by_role("button", name="Cancel").click()
        await page.until(job, "Cancelled")
        assert 0 < await page.card(job).locator("progress").evaluate("bar => bar.value") < 100
        assert not await page.card(job).get_by_role("button", name="Cancel").is_visible()
        await page.shoot("cancelled")


async def test_a_failed_job_says_why(house: Stack, browser: Browser) -> None:
    """The error is a sentence on the card, and the bar stays where it failed."""
    async with tab(browser) as page:
        await page.goto(house.url)
        job = await page.start("demo.count", steps=10, delay_seconds=0.1, fail_at=4)
        await page.until(job, "Failed")
        error = await page.card(job).locator(".error").inner_text()
        assert "RuntimeError" in error
        assert "asked to fail at step 4" in error
        assert await page.card(job).locator("progress").evaluate("bar => bar.value") == 30
        await page.shoot("failed")


async def test_what_is_wrong_with_a_param_stands_beside_its_field(house: Stack, browser: Browser) -> None:
    """The server's sentence, tied to the field for those who hear it, and the focus goes there."""
    async with tab(browser) as page:
        page.expect_complaint("422")  # Chromium reports every answer that is not ok
        await page.goto(house.url)
        await page.page.fill("#param-steps", "0")
        await page.page.locator("#submit").click()
        await page.page.get_by_text("Should be at least 1, is 0.").wait_for()
        field = page.page.locator("#param-steps")
        assert await field.get_attribute("aria-invalid") == "true"
        assert "param-steps-problem" in (await field.get_attribute("aria-describedby") or "")
        assert await field.evaluate("field => field === document.activeElement")
        assert await page.page.locator("#form-problem").inner_text() == ""
        await page.shoot("refused")

        await field.fill("3")
        job = await page.start("demo.count", delay_seconds=0)
        await page.until(job, "Succeeded")
        assert await field.get_attribute("aria-invalid") is None


async def test_the_form_speaks_the_schema(house: Stack, browser: Browser) -> None:
    """Text, choice, number, nothing, check box and JSON arrive as what they are."""
    async with tab(browser) as page:
        await page.goto(house.url)
        await page.page.select_option("#task", "page.form")
        await page.shoot("form")
        await page.page.check("#param-loud")
        await page.page.fill("#param-names", "[broken")
        await page.page.locator("#submit").click()
        await page.page.get_by_text("This should be JSON").wait_for()
        job = await page.start(
            "page.form", text="a 'quoted' text", colour="green", ratio="0.25", names='["x", "y"]'
        )
        await page.until(job, "Succeeded")
        done = await house.job(job)
        assert done["result"] == ["a 'quoted' text", "green", None, 0.25, True, ["x", "y"]]


async def test_text_from_a_job_is_never_markup(house: Stack, browser: Browser) -> None:
    """Messages, log lines, outputs and results are shown as the text they are."""
    async with tab(browser) as page:
        await page.goto(house.url)
        job = await page.start("page.markup")
        await page.until(job, "Succeeded")
        card = page.card(job)
        if await card.locator("details:not([open])").count():  # it may be done before the page looks
            await card.get_by_text("Log", exact=True).click()
        await card.locator("ol li").nth(1).wait_for()
        assert (await card.inner_text()).count("<b>bold</b>") == 3
        assert "<b>bold</b>" in await card.locator('[part="message"]').inner_text()
        assert await card.locator("img, b").count() == 0
        assert await page.page.evaluate("window.broken") is None


async def test_the_keyboard_is_enough(house: Stack, browser: Browser) -> None:
    """From the top of the page to a started, cancelled and dismissed job; the focus can always be seen."""
    async with tab(browser) as page:
        await page.goto(house.url)
        await page.page.select_option(
            "#task", "demo.ticker"
        )  # a native select is the browser's own keyboard work
        await page.page.locator("h1").click()
        await _tab_to(page, "Start demo.ticker")
        before = await page.job_ids()
        await page.page.keyboard.press("Enter")
        job = await page.new_job(before)
        await page.until(job, "Running")
        assert await _focused(page) == "Start demo.ticker"
        await _tab_to(page, "Cancel")
        await page.shoot("keyboard")
        await page.page.keyboard.press("Enter")
        await page.until(job, "Cancelled")
        assert await _focused(page) == "Dismiss demo.ticker"
        await _rest(page)
        await page.page.keyboard.press("Enter")
        await eventually(lambda: _gone(page, job), "the card is gone")
        assert await page.page.evaluate("document.activeElement !== document.body")


async def _gone(page: WatchedPage, job: str) -> bool:
    return job not in await page.job_ids()


# What has the focus, also inside an element's own tree, and whether that can be seen.
_FOCUSED = """() => {
  let active = document.activeElement;
  while (active?.shadowRoot?.activeElement) active = active.shadowRoot.activeElement;
  const seen = active === document.body || getComputedStyle(active).outlineStyle !== "none" || active.id === "jobs";
  return [active?.getAttribute("aria-label") ?? active?.textContent.trim() ?? "", seen];
}"""


async def _focused(page: WatchedPage) -> str:
    name, seen = await page.page.evaluate(_FOCUSED)
    assert seen, f"the focus on {name!r} cannot be seen"
    return str(name)


async def _rest(page: WatchedPage) -> None:
    """Wait out the half second in which a second click is taken for the other half of a double click."""
    await page.page.evaluate("new Promise((resolve) => setTimeout(resolve, 600))")


async def _tab_to(page: WatchedPage, name: str) -> None:
    passed = []
    for _ in range(60):
        await page.page.keyboard.press("Tab")
        passed.append(await _focused(page))
        if passed[-1] == name:
            return
    pytest.fail(f"The keyboard does not get to {name!r}; it passed {passed}.")


async def test_what_was_dismissed_stays_away(house: Stack, browser: Browser) -> None:
    """In this tab, also after a reload; another visitor still sees it."""
    async with tab(browser) as page:
        await page.goto(house.url)
        kept = await page.start("demo.count", steps=2, delay_seconds=0)
        job = await page.start("demo.count", steps=2, delay_seconds=0)
        await page.until(kept, "Succeeded")
        await page.until(job, "Succeeded")
        await page.page.reload()
        await page.ready()
        await page.card(job).get_by_role("button", name="Dismiss").click()
        assert job not in await page.job_ids()
        await page.page.reload()
        await page.ready()
        await page.card(kept).wait_for()
        assert job not in await page.job_ids()
        async with tab(browser) as other:
            await other.goto(house.url)
            await other.card(job).wait_for()
        await page.page.get_by_role("button", name="Clear finished").click()
        assert kept not in await page.job_ids()
        await page.shoot("cleared")


async def test_a_job_from_a_terminal_appears_by_itself(house: Stack, browser: Browser) -> None:
    """The command that the page teaches works, and its job shows up."""
    async with tab(browser) as page:
        await page.goto(house.url)
        command = await page.page.locator("#curl").text_content() or ""
        assert f"curl {house.url}/v1/jobs" in command
        assert '{"task":"demo.count","params":{"steps":20,"delay_seconds":0.25}}' in command
        job = await house.submit("demo.count", steps=2, delay_seconds=0.1)
        await page.until(job["id"], "Succeeded")


async def test_the_newest_job_stands_first_whatever_its_id(house: Stack, browser: Browser) -> None:
    """Clients may choose ids, and those say nothing of the time: on the open page as after a reload."""
    async with tab(browser) as page:
        await page.goto(house.url)
        older = await house.submit("demo.count", steps=2, delay_seconds=0.1)
        await page.until(older["id"], "Succeeded")
        body = {"task": "demo.count", "params": {"steps": 2, "delay_seconds": 0.1}}
        assert (await house.http.put("/v1/jobs/0-chosen", json=body)).status_code in (201, 202)
        await page.until("0-chosen", "Succeeded")
        first = page.page.locator("#cards > li").first
        assert await first.get_attribute("id") == "job-0-chosen"
        await page.page.reload()
        await page.ready()
        await page.until("0-chosen", "Succeeded")
        assert await first.get_attribute("id") == "job-0-chosen"


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [320, 375, 768])
async def test_it_fits_every_width(house: Stack, browser: Browser, width: int, scheme: str) -> None:
    """Nothing has to be scrolled sideways, by day and by night."""
    viewport = {"width": width, "height": 740}
    async with tab(browser, viewport=viewport, color_scheme=scheme, device_scale_factor=2) as page:
        await page.goto(house.url)
        failed = await page.start("demo.count", steps=3, delay_seconds=0.05, fail_at=2)
        await page.until(failed, "Failed")
        job = await page.start("page.steps", delay_seconds=0.15)
        await page.card(job).locator("ol li").nth(3).wait_for()
        await page.shoot(f"{width}-{scheme}")
        assert await page.page.evaluate("document.documentElement.scrollWidth") <= width
        await page.until(job, "Succeeded")


async def test_nothing_moves_for_who_wants_no_motion(house: Stack, browser: Browser) -> None:
    """A bar of unknown length shows a pattern instead of a movement."""
    async with tab(browser, reduced_motion="reduce") as page:
        await page.goto(house.url)
        job = await page.start("demo.ticker", symbol="ACME", interval_seconds=0.5)
        await page.until(job, "Running")
        bar = page.card(job).locator("progress:indeterminate")
        assert await bar.evaluate("bar => getComputedStyle(bar).animationName") == "none"
        await page.card(job).get_by_role("button", name="Cancel").click()
        await page.until(job, "Cancelled")


async def test_forced_colours_keep_the_bar_visible(house: Stack, browser: Browser) -> None:
    """A palette chosen by the reader is used, and bar and track still differ in it."""
    async with tab(browser, forced_colors="active") as page:
        await page.goto(house.url)
        job = await page.start("demo.count", steps=4, delay_seconds=0.1, fail_at=3)
        await page.until(job, "Failed")
        await page.shoot("forced-colours")
        pixels = await page.card(job).locator("progress").screenshot()
        assert len(set(pixels)) > 10


async def test_without_javascript_the_page_says_what_still_works(house: Stack, browser: Browser) -> None:
    """Not an empty page: the command that follows a job anywhere."""
    context = await browser.new_context(java_script_enabled=False)
    page = await context.new_page()
    await page.goto(house.url)
    assert "curl -N" in await page.locator("noscript").inner_text()
    await context.close()
