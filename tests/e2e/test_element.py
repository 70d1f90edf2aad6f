"""What `<milepost-progress>` does while a job, a connection and a page change under it; driven by hand, event by event."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.bars import stage

if TYPE_CHECKING:
    from playwright.async_api import Browser

pytestmark = [pytest.mark.anyio, pytest.mark.browser]


async def test_the_bar_moves_between_reports_and_never_beyond_them(browser: Browser) -> None:
    """Looked at in every frame: it stands at places that nobody reported, and never past the last that was."""
    async with stage(browser) as page:
        seen = await page.page.evaluate(
            """async () => {
              await put("milepost-progress", { job: "a" })
              const seen = []
              for (const percent of [10, 30, 50, 70, 90]) {
                hand.tell({ job: at(percent) })
                for (const until = performance.now() + 150; performance.now() < until; ) {
                  await new Promise(requestAnimationFrame)
                  seen.push([filled(), percent])
                }
              }
              return seen
            }"""
        )
        assert all(shown <= true + 0.5 for shown, true in seen), seen
        assert [shown for shown, _ in seen] == sorted(shown for shown, _ in seen)
        between = {round(shown) for shown, _ in seen} - {10, 30, 50, 70, 90}
        assert len(between) > 5, seen


async def test_another_attempt_begins_at_nothing_at_once(browser: Browser) -> None:
    """In the middle of a motion, too: on a way back the bar would show what is no longer so."""
    async with stage(browser) as page:
        shown = await page.page.evaluate(
            """async () => {
              await put("milepost-progress", { job: "a" })
              hand.tell({ job: at(10) })
              await new Promise((resolve) => setTimeout(resolve, 400))
              hand.tell({ job: at(90) })
              await drawn()
              hand.tell({ job: at(0, { attempt: 2 }) })
              return filled()
            }"""
        )
        assert shown == 0


async def test_motion_is_off_for_who_wants_none(browser: Browser) -> None:
    """The bar stands where the report says, at once."""
    async with stage(browser, reduced_motion="reduce") as page:
        shown = await page.page.evaluate(
            """async () => {
              await put("milepost-progress", { job: "a" })
              hand.tell({ job: at(10) })
              await new Promise((resolve) => setTimeout(resolve, 200))
              hand.tell({ job: at(80) })
              return filled()
            }"""
        )
        assert round(shown) == 80


async def test_a_screen_reader_hears_of_changes_of_state_alone(browser: Browser) -> None:
    """Not of what was so when the page came, not of every percent, and of the end with its reason."""
    async with stage(browser) as page:
        heard = await page.page.evaluate(
            """async () => {
              const bar = await put("milepost-progress", { job: "a", label: "Import" })
              const heard = []
              const region = bar.shadowRoot.querySelector("[role=status]")
              new MutationObserver(() => heard.push(region.textContent)).observe(region, { childList: true, characterData: true, subtree: true })
              for (let percent = 0; percent < 60; percent++) hand.tell({ job: at(percent) })
              await drawn()
              hand.tell({ job: at(60, { stalled: true }) })
              await drawn()
              hand.tell({ job: at(61, { attempt: 2 }) })
              await drawn()
              hand.tell({ job: at(62, { attempt: 2 }), connection: "reconnecting" })
              hand.tell({ job: at(62, { attempt: 2, status: "failed", done: true, error: { code: "exception", message: "No such row." } }) })
              await drawn()
              return heard
            }"""
        )
        assert heard == [
            "Import: No word from the worker",
            "Import: Running, attempt 2 of 3",
            "Import: Failed: No such row., attempt 2 of 3",
        ]


async def test_trouble_of_the_connection_is_not_trouble_of_the_job(browser: Browser) -> None:
    """The job stays as it was last seen; a break that is over at once is not spoken of."""
    async with stage(browser) as page:
        await page.page.evaluate(
            """async () => {
              await put("milepost-progress", { job: "a" })
              hand.tell({ job: at(40) })
              hand.tell({ job: at(40), connection: "reconnecting" })
              await drawn()
            }"""
        )
        bar = page.page.locator("milepost-progress")
        assert await page.page.evaluate("says('trouble')") == ""
        await bar.locator("[part=trouble]", has_text="The connection was lost. Trying again.").wait_for()
        assert await page.page.evaluate("[says('status'), says('percent'), element.dataset.tone]") == ["Running", "40%", "running"]
        await page.page.evaluate("hand.tell({ job: at(50) })")
        assert await page.page.evaluate("[says('trouble'), says('percent')]") == ["", "50%"]


async def test_it_watches_while_it_is_on_the_page(browser: Browser) -> None:
    """Taken out it stops, put back it goes on; moved, it notices nothing."""
    async with stage(browser) as page:
        told = await page.page.evaluate(
            """async () => {
              const bar = await put("milepost-progress", { job: "a" })
              hand.tell({ job: at(40) })
              const told = [hand.watches.length]
              document.querySelector("#root").prepend(bar)
              await drawn()
              told.push(hand.watches.length, hand.open.length)
              bar.remove()
              await drawn()
              told.push(hand.open.length)
              hand.tell({ job: at(90) }, hand.watches)
              told.push(bar.value.progress.percent)
              document.body.append(bar)
              await drawn()
              told.push(hand.open.length, says("percent"))
              return told
            }"""
        )
        assert told == [1, 1, 1, 0, 40, 1, "40%"]


async def test_another_job_is_another_watch_and_nothing_of_the_old_is_left(browser: Browser) -> None:
    """However many attributes are set in a row, one watch comes of it; late words of the old one are not heard."""
    async with stage(browser) as page:
        told = await page.page.evaluate(
            """async () => {
              const bar = await put("milepost-progress", { job: "a" })
              hand.tell({ job: at(40) })
              const [old] = hand.watches
              bar.setAttribute("job", "x")
              bar.setAttribute("job", "b")
              await drawn()
              const told = [hand.open, hand.watches.length, says("percent"), says("status")]
              hand.tell({ job: at(90) }, [old])
              return [...told, says("percent"), bar.value]
            }"""
        )
        assert told == [["b"], 2, "", "Connecting", "", None]


async def test_what_a_page_sets_before_the_element_is_there_counts(browser: Browser) -> None:
    """A page may be faster than the script that defines the element."""
    async with stage(browser) as page:
        told = await page.page.evaluate(
            """async () => {
              const { ProgressElement } = await import("/frontend/src/element.js")
              const early = document.createElement("early-progress")
              early.client = hand
              early.value = at(25)
              early.setAttribute("job", "a")
              document.body.append(early)
              customElements.define("early-progress", class extends ProgressElement {})
              await drawn()
              return [hand.open, says("percent", early), Object.hasOwn(early, "client")]
            }"""
        )
        assert told == [["a"], "25%", False]


async def test_events_tell_the_page_and_the_end_is_told_once(browser: Browser) -> None:
    """Every change is an event with the whole update in it."""
    async with stage(browser) as page:
        told = await page.page.evaluate(
            """async () => {
              const told = []
              for (const type of ["milepost-update", "milepost-end"]) {
                document.addEventListener(type, ({ detail, target }) => told.push([type, detail.job.progress.percent, target.localName]))
              }
              await put("milepost-progress", { job: "a" })
              hand.tell({ job: at(40) })
              hand.tell({ job: at(100, { status: "succeeded", done: true }), connection: "ended" })
              hand.tell({ job: at(100, { status: "succeeded", done: true }), connection: "ended" })
              return told
            }"""
        )
        name = "milepost-progress"
        assert told == [
            ["milepost-update", 40, name],
            ["milepost-update", 100, name],
            ["milepost-end", 100, name],
            ["milepost-update", 100, name],
        ]


async def test_cancelling_takes_one_press_and_keeps_the_focus(browser: Browser) -> None:
    """While it is asked for, the button is there and does nothing; when it goes, the focus goes to the name of the job."""
    async with stage(browser) as page:
        await page.page.evaluate(
            """async () => {
              await put("milepost-progress", { job: "a", cancel: "", retry: "" })
              hand.tell({ job: at(40) })
              hand.patience = new Promise((resolve) => (window.answer = resolve))
            }"""
        )
        await page.page.keyboard.press("Tab")
        await page.page.keyboard.press("Enter")
        await page.page.keyboard.press("Enter")
        button = page.page.get_by_role("button", name="Cancel")
        assert await button.get_attribute("aria-disabled") == "true"
        told = await page.page.evaluate(
            """async () => {
              answer()
              await drawn()
              hand.tell({ job: at(40, { status: "cancelled", done: true }), connection: "ended" })
              await drawn()
              const { activeElement } = element.shadowRoot
              element.shadowRoot.getElementById("retry").click()  // the second half of a double click
              await drawn()
              return [hand.asked, activeElement.id, element.shadowRoot.getElementById("retry").hidden]
            }"""
        )
        assert told == [["cancel a"], "label", False]


async def test_what_could_not_be_cancelled_is_said(browser: Browser) -> None:
    """By the server's own sentence, to eyes and ears; the button can be pressed again."""
    async with stage(browser) as page:
        told = await page.page.evaluate(
            """async () => {
              const bar = await put("milepost-progress", { job: "a", cancel: "" })
              hand.tell({ job: at(40) })
              hand.refusal = new Problem("This token may only read.", { status: 403 })
              await bar.cancel()
              const told = [says("trouble"), says("said"), bar.shadowRoot.getElementById("cancel").ariaDisabled]
              hand.refusal = null
              await bar.cancel()
              return [...told, says("trouble")]
            }"""
        )
        sentence = "Could not cancel: This token may only read."
        assert told == [sentence, sentence, "false", ""]


async def test_retrying_makes_a_new_job_and_the_bar_follows_it(browser: Browser) -> None:
    """It says so, to the page as well; the old watch is over, a new one is open."""
    async with stage(browser) as page:
        await page.page.evaluate(
            """async () => {
              await put("milepost-progress", { job: "a", retry: "" })
              window.told = []
              document.addEventListener("milepost-retry", ({ detail }) => told.push([detail.job.id, detail.retry_of]))
              hand.tell({ job: at(40, { status: "failed", done: true, error: { code: "exception", message: "Broken." } }), connection: "ended" })
              await new Promise((resolve) => setTimeout(resolve, 600))
            }"""
        )
        await page.page.get_by_role("button", name="Retry").click()
        await page.page.locator("milepost-progress[job=a-again]").wait_for()
        told = await page.page.evaluate(
            """async () => {
              await drawn()
              return [told, hand.open, says("attempt"), says("status"), says("said"), says("percent"), filled()]
            }"""
        )
        said = "demo.count: Waiting for a worker, started again"
        assert told == [[["a-again", "a"]], ["a-again"], "started again", "Waiting for a worker", said, "", 0]


async def test_a_page_may_keep_the_bar_where_it_is(browser: Browser) -> None:
    """Who prevents the event of a retry goes to the new job in a way of their own."""
    async with stage(browser) as page:
        told = await page.page.evaluate(
            """async () => {
              const bar = await put("milepost-progress", { job: "a", retry: "" })
              hand.tell({ job: at(40, { status: "failed", done: true }), connection: "ended" })
              bar.addEventListener("milepost-retry", (event) => event.preventDefault())
              await bar.retry()
              await drawn()
              return [bar.getAttribute("job"), says("status"), hand.asked]
            }"""
        )
        assert told == ["a", "Failed", ["retry a"]]


async def test_a_thousand_bars_are_cheap(browser: Browser) -> None:
    """One timer for all, none once they have ended; what is off screen is not laid out."""
    async with stage(browser) as page:
        told = await page.page.evaluate(
            """async () => {
              const timers = new Set()
              const [begin, end] = [setInterval, clearInterval]
              window.setInterval = (...given) => { const timer = begin(...given); timers.add(timer); return timer }
              window.clearInterval = (timer) => (timers.delete(timer), end(timer))
              const bars = Array.from({ length: 1000 }, () => document.createElement("milepost-progress"))
              document.querySelector("#root").append(...bars)
              for (const bar of bars) bar.show({ job: at(40), event: null, connection: "live", problem: null })
              await drawn()
              const visible = bars.filter((bar) => bar.shadowRoot.getElementById("label").checkVisibility({ contentVisibilityAuto: true }))
              const told = [timers.size, visible.length > 0, visible.length < 100]
              for (const bar of bars) bar.show({ job: at(100, { status: "succeeded", done: true }), event: null, connection: "ended", problem: null })
              return [...told, timers.size]
            }"""
        )
        assert told == [1, True, True, 0]
