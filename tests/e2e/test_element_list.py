"""`<milepost-job-list>`: many jobs over one watch, driven by hand."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.bars import stage

if TYPE_CHECKING:
    from playwright.async_api import Browser

pytestmark = [pytest.mark.anyio, pytest.mark.browser]

# In the page: `say(id, percent)` is an update of one of many, `rows()` what is listed, from top to bottom.
_MANY = """
window.say = (id, percent, fields = {}) => {
  const job = at(percent, { id, created_at: `2026-11-21T${String(id.length > 1 ? id.slice(1) : 0).padStart(2, "0")}:00:00Z`, ...fields })
  hand.tell({ id, job, event: { type: "progress" } })
}
window.rows = () => [...element.shadowRoot.querySelectorAll("li > milepost-progress")].map((bar) => [bar.value.id, says("percent", bar)].join(" "))
undefined // or the last function would be called
"""


async def test_one_watch_feeds_all_bars_and_the_newest_stands_first(browser: Browser) -> None:
    """Whatever came first; a job that is there keeps its element, whatever comes above it."""
    async with stage(browser) as page:
        await page.page.evaluate(_MANY)
        told = await page.page.evaluate(
            """async () => {
              await put("milepost-job-list", { tag: "nightly" })
              for (const id of ["j2", "j1", "j3"]) say(id, 10)
              await drawn()
              const [third] = element.shadowRoot.querySelectorAll("milepost-progress")
              say("j4", 5)
              say("j3", 20)
              await drawn()
              return [hand.open, rows(), element.shadowRoot.querySelectorAll("milepost-progress")[1] === third, says("counts")]
            }"""
        )
        assert told == [['{"tag":"nightly"}'], ["j4 5%", "j3 20%", "j2 10%", "j1 10%"], True, "4 running"]


@pytest.mark.parametrize(
    ("attributes", "selection"),
    [
        ({"tag": "x"}, ['{"tag":"x"}']),
        ({"batch": "b-1"}, ['{"batch":"b-1"}']),
        ({"jobs": " b  a "}, ['{"ids":["b","a"]}']),
        ({"all": ""}, ['{"all":true}']),
        ({"jobs": ""}, []),
        ({}, []),
    ],
)
async def test_one_attribute_says_which_jobs(browser: Browser, attributes: dict[str, str], selection: list[str]) -> None:
    """A list that asks for none opens nothing."""
    async with stage(browser) as page:
        open_ = await page.page.evaluate(
            "async (given) => { await put('milepost-job-list', given); return hand.open }", attributes
        )
        assert open_ == selection


async def test_named_jobs_stand_in_their_own_order(browser: Browser) -> None:
    """One that is not there is a row that says so; one that was deleted is none."""
    async with stage(browser) as page:
        await page.page.evaluate(_MANY)
        told = await page.page.evaluate(
            """async () => {
              await put("milepost-job-list", { jobs: "j1 gone j3 j2" })
              for (const id of ["j3", "j2", "j1"]) say(id, 10)
              hand.tell({ id: "gone", event: { type: "job_missing", job_id: "gone", reason: "unknown" } })
              hand.tell({ id: "j2", event: { type: "job_missing", job_id: "j2", reason: "deleted" } })
              await drawn()
              return [...element.shadowRoot.querySelectorAll("milepost-progress")].map((bar) => says("label", bar) + ": " + says("status", bar))
            }"""
        )
        assert told == ["demo.count: Running", "gone: Not available", "demo.count: Running"]


async def test_a_limit_keeps_the_page_small_and_a_button_brings_more(browser: Browser) -> None:
    """All are counted; the focus goes to the first that came; nothing is taken away from under it."""
    async with stage(browser) as page:
        await page.page.evaluate(_MANY)
        await page.page.evaluate(
            """async () => {
              await put("milepost-job-list", { all: "", limit: "2", cancel: "" })
              for (const id of ["j1", "j2", "j3", "j4", "j5"]) say(id, 10, id === "j1" ? { status: "queued" } : {})
              await drawn()
            }"""
        )
        assert await page.page.evaluate("[rows(), says('counts')]") == [["j5 10%", "j4 10%"], "4 running, 1 queued"]
        more = page.page.get_by_role("button", name="Show 2 more of 3")
        await more.focus()
        await page.page.keyboard.press("Enter")
        assert await page.page.evaluate("rows()") == ["j5 10%", "j4 10%", "j3 10%", "j2 10%"]
        focused = "element.shadowRoot.activeElement"
        assert await page.page.evaluate(f"{focused}.firstElementChild.value.id") == "j3"
        await page.page.keyboard.press("Tab")
        assert await page.page.evaluate(f"{focused}.shadowRoot.activeElement.id") == "cancel"
        told = await page.page.evaluate(
            """async () => {
              for (const id of ["j6", "j7", "j8", "j9"]) say(id, 10)
              await drawn()
              return [rows(), element.shadowRoot.activeElement.value.id]
            }"""
        )
        assert told == [["j9 10%", "j8 10%", "j7 10%", "j6 10%", "j3 10%"], "j3"]


async def test_a_list_without_jobs_says_what_the_page_says(browser: Browser) -> None:
    """What is in the tag stands there until there is a job; while nobody knows, it is not said that there is none."""
    async with stage(browser) as page:
        await page.page.evaluate(_MANY)
        told = await page.page.evaluate(
            """async () => {
              await put("milepost-job-list", { tag: "x" }, "<b>Start one.</b>")
              const seen = () => [element.querySelector("b").checkVisibility(), says("counts")]
              const told = [seen()]
              hand.tell({ id: null })
              await drawn()
              told.push(seen())
              say("j1", 10)
              await drawn()
              return [...told, seen()]
            }"""
        )
        assert told == [[False, "Connecting"], [True, "No jobs yet."], [False, "1 running"]]


async def test_counts_are_read_out_now_and_then(browser: Browser) -> None:
    """Not at every change, not by every bar, and at the end."""
    async with stage(browser) as page:
        await page.page.evaluate(_MANY)
        told = await page.page.evaluate(
            """async () => {
              await put("milepost-job-list", { tag: "x" })
              const heard = []
              const region = element.shadowRoot.getElementById("said")
              new MutationObserver(() => heard.push(region.textContent)).observe(region, { childList: true, characterData: true, subtree: true })
              for (const id of ["j1", "j2", "j3"]) {
                say(id, 10)
                await drawn()
              }
              const all = []
              for (const id of ["j1", "j2", "j3"]) {
                say(id, 100, { status: "succeeded", done: true })
                await drawn()
                const bars = [...element.shadowRoot.querySelectorAll("milepost-progress")]
                all.push(...bars.map((bar) => says("said", bar)))
              }
              hand.tell({ id: null, connection: "ended", event: { type: "end" } })
              await drawn()
              return [region.role, heard, new Set(all).size, all[0]]
            }"""
        )
        assert told == ["status", ["3 succeeded"], 1, ""]


async def test_trouble_is_said_once_above_all_bars(browser: Browser) -> None:
    """A hundred bars that all say the same would say nothing."""
    async with stage(browser) as page:
        await page.page.evaluate(_MANY)
        await page.page.evaluate(
            """async () => {
              await put("milepost-job-list", { tag: "x" })
              say("j1", 10)
              hand.tell({ id: null, connection: "reconnecting", problem: "The server cannot be reached." })
            }"""
        )
        trouble = page.page.locator("milepost-job-list [part=trouble]", has_text="The server cannot be reached.")
        await trouble.first.wait_for()
        assert await trouble.count() == 1


async def test_a_job_that_is_done_again_is_a_row_of_its_own(browser: Browser) -> None:
    """The old one stays; the page hears of it; the list asks for it too."""
    async with stage(browser) as page:
        await page.page.evaluate(_MANY)
        told = await page.page.evaluate(
            """async () => {
              await put("milepost-job-list", { jobs: "j1 j2", retry: "" })
              const told = []
              document.addEventListener("milepost-retry", ({ detail, target }) => told.push(target.localName, detail.job.id))
              for (const id of ["j1", "j2"]) say(id, 10, { status: "failed", done: true })
              await drawn()
              await element.shadowRoot.querySelector("milepost-progress").retry()
              await drawn()
              const listed = [...element.shadowRoot.querySelectorAll("milepost-progress")].map((bar) => bar.value.id)
              return [told, hand.open, listed]
            }"""
        )
        assert told == [["milepost-job-list", "j1-again"], ['{"ids":["j1","j2","j1-again"]}'], ["j1", "j2", "j1-again"]]


async def test_a_list_of_all_keeps_no_more_than_it_needs(browser: Browser) -> None:
    """It never ends: of three thousand jobs that have ended the newest thousand are known, those under way all."""
    async with stage(browser) as page:
        await page.page.evaluate(_MANY)
        told = await page.page.evaluate(
            """async () => {
              await put("milepost-job-list", { all: "" })
              say("j0", 10)
              for (let each = 0; each < 3000; each++) say(`k${each}`, 100, { status: "succeeded", done: true })
              await drawn()
              const listed = element.shadowRoot.querySelectorAll("li").length
              return [element.value.length, element.value.some(({ id }) => id === "j0"), listed]
            }"""
        )
        assert told == [1000, True, 50]


async def test_events_reach_the_page_once_from_the_list(browser: Browser) -> None:
    """Each update of a job, and the end of all."""
    async with stage(browser) as page:
        await page.page.evaluate(_MANY)
        told = await page.page.evaluate(
            """async () => {
              const told = []
              for (const type of ["milepost-update", "milepost-end"]) {
                document.addEventListener(type, ({ detail, target }) => told.push([type, detail.id, target.localName]))
              }
              await put("milepost-job-list", { tag: "x" })
              say("j1", 100, { status: "succeeded", done: true })
              hand.tell({ id: null, connection: "ended", event: { type: "end" } })
              await drawn()
              return told
            }"""
        )
        name = "milepost-job-list"
        assert told == [
            ["milepost-update", "j1", name],
            ["milepost-update", None, name],
            ["milepost-end", None, name],
        ]
