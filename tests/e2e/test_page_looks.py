"""The page for every eye, hand and ear: widths, colours, keys, no motion, no script; axe-core on every view."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.support.axe import violations
from tests.support.page import WatchedPage, tab
from tests.support.stack import Stack
from tests.support.wait import eventually

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from playwright.async_api import Browser

pytestmark = [pytest.mark.anyio, pytest.mark.browser]

DESKTOP = {"width": 1280, "height": 860}
LOST: dict[str, Any] = {"task": "video.encode", "queue": "video", "allow_unknown_task": True}


@pytest.fixture(scope="module")
async def furnished(house: Stack) -> AsyncIterator[dict[str, str]]:
    """A house with something of everything in it: address of each view by its name."""

    async def submit(task: str, **options: Any) -> str:
        reply = await house.http.post("/v1/jobs", json={"task": task, **options})
        return str(reply.json()["id"])

    tags = ["nightly", "import"]
    failed = await submit("demo.count", params={"steps": 5, "delay_seconds": 0.02, "fail_at": 3}, tags=tags)
    done = await submit("page.steps", params={"delay_seconds": 0.02}, metadata={"customer": "acme"})
    running = await submit("demo.count", params={"steps": 10_000, "delay_seconds": 1}, tags=tags)
    ticking = await submit("demo.ticker", params={"symbol": "ACME", "interval_seconds": 1})
    waiting = await submit(**LOST)
    await submit("demo.count", params={"steps": 3}, delay_seconds=900)
    for job in (failed, done):
        await eventually(lambda job=job: _done(house, job), "it has ended")  # type: ignore[misc]
    yield {
        "jobs": "#/jobs",
        "jobs-failed": "#/jobs?status=failed",
        "jobs-none": "#/jobs?task=no.such.task",
        "job-running": f"#/jobs/{running}",
        "job-done": f"#/jobs/{done}",
        "job-failed": f"#/jobs/{failed}",
        "job-waiting": f"#/jobs/{waiting}",
        "job-missing": "#/jobs/01890000-0000-7000-8000-000000000000",
        "new": "#/new?task=page.form",
        "tasks": "#/tasks",
        "workers": "#/workers",
        "queues": "#/queues",
        "trends": "#/trends?window=1h",
    }
    for job in (running, ticking, waiting):
        await house.http.post(f"/v1/jobs/{job}/cancel")


async def _done(house: Stack, job: str) -> bool:
    return bool((await house.job(job))["done"])


async def _views(page: WatchedPage, views: dict[str, str]) -> AsyncIterator[str]:
    """Go from view to view, and yield the name of each when it has come to rest."""
    for name, address in views.items():
        await page.show(address)
        await page.page.locator("main h1").wait_for()
        if name.startswith("job-") and name != "job-missing":
            await page.page.locator(".attempts li").nth(0 if name == "job-waiting" else 1).wait_for()
            await page.page.locator('[aria-label="Params"]').wait_for(
                state="attached" if name != "job-waiting" else "detached"
            )
        elif name.startswith("jobs") and name != "jobs-none":
            await page.page.locator("li.row").first.wait_for()
        elif name in ("tasks", "workers", "queues"):
            await page.page.locator("tbody tr").first.wait_for()
        elif name == "trends":
            await page.page.locator(".chart svg").nth(2).wait_for()
        elif name == "job-missing":
            await page.page.get_by_text("This job is not here").wait_for()
        elif name == "jobs-none":
            await page.page.get_by_text("No job fits").wait_for()
        yield name


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_axe_finds_nothing(
    house: Stack, browser: Browser, furnished: dict[str, str], scheme: str
) -> None:
    """On every view and in the dialog, by day and by night; each is kept as a picture."""
    async with tab(browser, viewport=DESKTOP, color_scheme=scheme) as page:
        page.expect_complaint("404")
        await page.goto(house.url)
        found = {}
        async for name in _views(page, furnished):
            await page.shoot(f"{name}-{scheme}")
            found[name] = await violations(page.page)
        await page.show("#/jobs")
        await page.page.get_by_role("button", name="Cancel all …").click()
        await page.page.get_by_role("dialog").wait_for()
        await page.shoot(f"dialog-{scheme}")
        found["dialog"] = await violations(page.page)
        await page.page.keyboard.press("Escape")
    assert {name: what for name, what in found.items() if what} == {}


@pytest.mark.parametrize(("width", "scheme"), [(320, "light"), (360, "dark"), (768, "light")])
async def test_it_fits_every_width(
    house: Stack, browser: Browser, furnished: dict[str, str], width: int, scheme: str
) -> None:
    """No view has to be scrolled sideways."""
    viewport = {"width": width, "height": 740}
    async with tab(browser, viewport=viewport, color_scheme=scheme) as page:
        page.expect_complaint("404")
        await page.goto(house.url)
        wide = {}
        async for name in _views(page, furnished):
            await page.shoot(f"{name}-{width}-{scheme}")
            needed = await page.page.evaluate("document.documentElement.scrollWidth")
            if needed > width:
                wide[name] = needed
    assert wide == {}


async def test_the_keyboard_is_enough(house: Stack, browser: Browser) -> None:
    """From the top of the page to a started and cancelled job; the focus can always be seen, and is never lost."""
    async with tab(browser, viewport=DESKTOP) as page:
        await page.goto(house.url)
        await page.page.keyboard.press("Tab")
        assert await _focused(page) == "Skip to the content"
        address = page.page.url
        await page.page.keyboard.press("Enter")
        assert await page.page.evaluate("document.activeElement.tagName") == "H1"
        assert page.page.url == address
        await _tab_to(page, "New job", key="Shift+Tab")
        await page.page.keyboard.press("Enter")
        await page.page.locator("#submit:enabled").wait_for()
        assert await page.page.evaluate("document.activeElement.tagName") == "H1"  # reading begins here
        await page.page.select_option("#task", "demo.ticker")  # a native select is the browser's own work
        await page.page.locator("#submit", has_text="Start demo.ticker").wait_for()
        await _tab_to(page, "Start demo.ticker")
        await page.page.keyboard.press("Enter")
        job = await page.new_job()
        await page.until(job, "Running")
        await _tab_to(page, "Cancel")
        await page.shoot("keyboard")
        await page.page.keyboard.press("Enter")
        assert await _focused(page) == "Let it go on"
        await page.page.keyboard.press("Tab")
        assert await _focused(page) == "Cancel the job"
        await page.page.keyboard.press("Enter")
        await page.until(job, "Cancelled")
        await eventually(lambda: _has_focus(page, "Run again"), "the focus is on the next thing to do")

        await page.show_list()
        await page.row(job).wait_for()
        await _tab_to(page, "demo.ticker")
        await page.page.keyboard.press("Enter")
        await page.card(job).wait_for()


# What has the focus, also inside an element's own tree, and whether that can be seen.
_FOCUSED = """() => {
  let active = document.activeElement;
  while (active?.shadowRoot?.activeElement) active = active.shadowRoot.activeElement;
  const seen = active === document.body || getComputedStyle(active).outlineStyle !== "none" || active.tagName === "H1";
  return [active?.getAttribute("aria-label") ?? active?.textContent.trim() ?? "", seen];
}"""


async def _focused(page: WatchedPage) -> str:
    name, seen = await page.page.evaluate(_FOCUSED)
    assert seen, f"the focus on {name!r} cannot be seen"
    return str(name)


async def _has_focus(page: WatchedPage, name: str) -> bool:
    return await _focused(page) == name


async def _tab_to(page: WatchedPage, name: str, *, key: str = "Tab") -> None:
    passed = []
    for _ in range(80):
        await page.page.keyboard.press(key)
        passed.append(await _focused(page))
        if passed[-1] == name:
            return
    pytest.fail(f"The keyboard does not get to {name!r}; it passed {passed}.")


async def test_nothing_moves_for_who_wants_no_motion(house: Stack, browser: Browser) -> None:
    """A bar of unknown length shows a pattern instead of a movement."""
    async with tab(browser, reduced_motion="reduce") as page:
        await page.goto(house.url)
        job = await page.start("demo.ticker", symbol="ACME", interval_seconds=0.5)
        await page.until(job, "Running")
        bar = page.card(job).locator("progress:indeterminate").first
        assert await bar.evaluate("bar => getComputedStyle(bar).animationName") == "none"
        await page.card(job).get_by_role("button", name="Cancel", exact=True).click()
        await page.confirm("Cancel the job")
        await page.until(job, "Cancelled")


async def test_forced_colours_keep_the_bar_visible(house: Stack, browser: Browser) -> None:
    """A palette chosen by the reader is used, and bar and track still differ in it."""
    async with tab(browser, forced_colors="active", viewport=DESKTOP) as page:
        await page.goto(house.url)
        job = await page.start("demo.count", steps=4, delay_seconds=0.05, fail_at=3)
        await page.until(job, "Failed")
        await page.shoot("forced-colours")
        pixels = await page.card(job).locator('[part="bar"]').screenshot()
        assert len(set(pixels)) > 10


async def test_without_javascript_the_page_says_what_still_works(house: Stack, browser: Browser) -> None:
    """Not an empty page: the command that follows a job anywhere."""
    context = await browser.new_context(java_script_enabled=False)
    page = await context.new_page()
    await page.goto(house.url)
    assert "curl -N" in await page.locator("noscript").inner_text()
    await context.close()
