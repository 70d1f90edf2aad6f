"""Every state of a job, as `<milepost-progress>` draws it from a transcript: in every look, for every reader."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.support.bars import faults, gallery, shoot

if TYPE_CHECKING:
    from playwright.async_api import Browser

pytestmark = [pytest.mark.anyio, pytest.mark.browser]

LOOKS: dict[str, dict[str, Any]] = {
    "light": {"viewport": {"width": 1000, "height": 2700}},
    "dark": {"viewport": {"width": 1000, "height": 2700}, "color_scheme": "dark"},
    "narrow": {"viewport": {"width": 320, "height": 4400}},
    "rtl": {"viewport": {"width": 700, "height": 4200}},
    "forced-colours": {"viewport": {"width": 700, "height": 4200}, "forced_colors": "active"},
    "reduced-motion": {"viewport": {"width": 700, "height": 4200}, "reduced_motion": "reduce"},
}

# What is seen of each state, part by part; parts that are not named are empty.
STATES = {
    "connecting": {"label": "Job", "status": "Connecting"},
    "queued": {"status": "Waiting: 4th in line"},
    "no-worker": {
        "status": "Waiting for a worker",
        "message": "No worker offers the task report.weekly. Start one: milepost worker app.reports",
    },
    "running": {
        "percent": "34%",
        "status": "Running",
        "count": "340 of 1,000 rows",
        "time": "1 min left",
        "rate": "9.3 rows/s",
        "message": "orders.csv",
    },
    "unknown": {"percent": "", "count": "12,840 files", "rate": "210 files/s"},
    "steps": {"step": "2/4 Import", "message": "orders.csv"},
    "bytes": {"count": "1.5 GB of 4.2 GB", "rate": "12.5 MB/s", "time": "1 h 20 min left"},
    "attempt": {"attempt": "attempt 2 of 3", "status": "Running"},
    "retrying": {"status": "Trying again", "message": "The shop did not answer within 30 s."},
    "lost": {"status": "Running", "trouble": "The server cannot be reached. Trying again.", "percent": "34%"},
    "stalled": {"status": "No word from the worker", "rate": "", "time": ""},
    "cancelling": {"status": "Cancelling"},
    "succeeded": {"status": "Succeeded", "percent": "100%", "time": "took 3 min 5 s"},
    "failed": {"status": "Failed", "percent": "34%", "time": "took 3 min 5 s", "rate": ""},
    "cancelled": {"status": "Cancelled", "percent": "34%"},
    "again": {"attempt": "started again", "percent": "8%"},
    "refused": {"status": "Not available", "trouble": "There is no job with this id, or it has expired."},
}


@pytest.mark.parametrize("look", LOOKS)
async def test_no_look_has_a_fault_or_room_for_less(browser: Browser, look: str) -> None:
    """axe-core finds nothing, and nothing is wider than the page, which is kept as a picture."""
    async with gallery(browser, "?dir=rtl" if look == "rtl" else "", **LOOKS[look]) as page:
        await shoot(page, f"bars-{look}")
        assert await faults(page) == []
        wide = "document.documentElement.scrollWidth - innerWidth"
        assert await page.page.evaluate(wide) <= 0


async def test_every_state_says_what_it_is(browser: Browser) -> None:
    """Words and numbers stand in their parts."""
    async with gallery(browser, **LOOKS["light"]) as page:
        for state, parts in STATES.items():
            bar = page.page.locator(f"#{state}")
            said = {part: await bar.locator(f"[part={part}]").text_content() for part in parts}
            assert said == parts, state


async def test_to_assistive_technology_each_is_a_named_bar(browser: Browser) -> None:
    """It has a value where one is known, and says it in words; one of unknown length has none at all."""
    async with gallery(browser, **LOOKS["light"]) as page:
        names = await page.page.locator("#running").aria_snapshot()
        assert '- progressbar "orders.import"' in names
        bar = page.page.locator("#running progress")
        assert await bar.get_attribute("aria-valuetext") == "34%, 340 of 1,000 rows"
        for state in ("unknown", "connecting"):
            unknown = page.page.locator(f"#{state} progress")
            assert await unknown.get_attribute("value") is None
            assert await unknown.get_attribute("aria-valuetext") is None
            assert await unknown.evaluate("bar => bar.matches(':indeterminate')")
        cancel = page.page.locator("#running").get_by_role("button", name="Cancel")
        described = "one => one.getRootNode().getElementById(one.getAttribute('aria-describedby')).textContent"
        assert await cancel.evaluate(described) == "orders.import"


async def test_from_right_to_left_the_bar_grows_from_the_right(browser: Browser) -> None:
    """A third of it is filled either way, and English words stand in their own order."""
    side = """bar => { const track = bar.getBoundingClientRect();
                       const fill = bar.nextElementSibling.getBoundingClientRect();
                       return [fill.left - track.left, fill.right - track.right].map((gap) => Math.round(100 * gap / track.width)) }"""
    async with gallery(browser, **LOOKS["light"]) as page:
        assert await page.page.locator("#running progress").evaluate(side) == [-66, -66]
    async with gallery(browser, "?dir=rtl", **LOOKS["rtl"]) as page:
        assert await page.page.locator("#running progress").evaluate(side) == [66, 66]


async def test_who_wants_no_motion_has_none(browser: Browser) -> None:
    """A bar of unknown length is striped instead, and nothing on the page is animated."""
    running = "document.querySelector('#unknown').shadowRoot.getAnimations({subtree: true}).length"
    async with gallery(browser, **LOOKS["light"]) as page:
        assert await page.page.evaluate(running) > 0
    async with gallery(browser, **LOOKS["reduced-motion"]) as page:
        assert await page.page.evaluate(running) == 0
        stripes = await page.page.locator("#unknown [part=fill]").evaluate("one => getComputedStyle(one).backgroundImage")
        assert stripes.startswith("repeating-linear-gradient")


async def test_in_forced_colours_the_bar_can_be_seen(browser: Browser) -> None:
    """The fill is of the system's highlight, the track has an edge."""
    async with gallery(browser, **LOOKS["forced-colours"]) as page:
        colours = await page.page.locator("#running progress").evaluate(
            """bar => [getComputedStyle(bar.nextElementSibling).backgroundColor, getComputedStyle(bar.parentElement).borderTopWidth,
                       getComputedStyle(bar.closest('[part=track]')).backgroundColor]"""
        )
        assert colours[0] != colours[2]
        assert colours[1] == "1px"


async def test_before_javascript_arrives_what_is_in_the_tag_stands_there(browser: Browser) -> None:
    """Plain text, a native bar, a link: what the page was sent with."""
    context = await browser.new_context(java_script_enabled=False)
    page = await context.new_page()
    await page.set_content('<milepost-progress job="a"><progress max="100" value="34"></progress> Importing</milepost-progress>')
    assert "Importing" in await page.locator("body").inner_text()
    assert await page.locator("progress").is_visible()
    await context.close()
