"""Pages that are hidden, frozen, put away or in the wrong year: each is right when somebody looks again.

The tabs are real ones in the background (`tests.support.page_loose`): minimized, throttled and frozen by Chromium.
Its headless shell has no back/forward cache (`BackForwardCacheDisabledForDelegate`), so what a page sees of one is
put together: it is frozen and thawed as such a page is, between the events that such a page gets.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

import pytest

from tests.support.middlebox import Middlebox
from tests.support.page_client import ClientTab, dense, ends_right, open_tab, profile, report
from tests.support.page_loose import LooseProfile, LooseTab, loose_chromium, loose_profile
from tests.support.stage import Stage
from tests.support.wait import eventually

if TYPE_CHECKING:
    from playwright.async_api import Browser

pytestmark = [pytest.mark.anyio, pytest.mark.browser]


@pytest.fixture(scope="module")
async def sleepy() -> AsyncIterator[Browser]:
    """A Chromium that puts what is in the background to sleep."""
    async with loose_chromium() as browser:
        yield browser


@pytest.fixture
async def tabs(sleepy: Browser) -> AsyncIterator[LooseProfile]:
    async with loose_profile(sleepy) as made:
        yield made


async def following(tabs: LooseProfile, box: Middlebox, job_id: str) -> tuple[LooseTab, ClientTab]:
    """A tab that follows a job and is live."""
    loose = await tabs.tab(box.page)
    tab = ClientTab(loose.evaluate)
    await tab.start(box.url)
    await tab.follow(job_id)
    await tab.until_connection(job_id, "live")
    return loose, tab


async def test_a_page_that_slept_through_the_end_shows_it(
    stage: Stage, box: Middlebox, tabs: LooseProfile
) -> None:
    """The laptop is closed: no task runs, the network forgets the connection, the job ends. It is opened again."""
    job = await stage.job()
    loose, tab = await following(tabs, box, job.id)
    await loose.freeze()
    box.deadens()
    await stage.says(job, "while", "it sleeps")
    last = await stage.ends(job)
    await loose.wake()
    dense(await tab.until_right(job.id), last)
    report("asleep until after the end", box, 4)


async def test_a_page_that_sleeps_again_and_again_misses_nothing(
    stage: Stage, box: Middlebox, tabs: LooseProfile
) -> None:
    """Each time it goes on after its last event, over one connection: the one before it is let go.

    Chromium closes a connection that is given up in `freeze` only when the page thaws, so it cannot be gone before.
    """
    job = await stage.job()
    loose, tab = await following(tabs, box, job.id)
    for round_ in range(3):
        await loose.freeze()
        await stage.says(job, f"round {round_}", "more")
        await loose.wake()
        await tab.until_seq(job.id, await stage.last(job))
        await eventually(lambda: stage.open_streams == 1, "it has one stream")
    await ends_right(stage, job, tab)
    await eventually(lambda: stage.open_streams == 0, "no stream is left")
    report("asleep three times", box, 8)


async def test_a_page_out_of_the_back_forward_cache_goes_on(
    stage: Stage, box: Middlebox, tabs: LooseProfile
) -> None:
    """`pagehide` lets go of everything (a lock would keep it out of the cache), and `pageshow` comes back."""
    job = await stage.job()
    loose, tab = await following(tabs, box, job.id)
    await tab.evaluate("dispatchEvent(new PageTransitionEvent('pagehide', { persisted: true }))")
    held = "async () => (await navigator.locks.query()).held.length"
    await eventually(lambda: _none(tab, held), "it holds no lock")
    await eventually(lambda: stage.open_streams == 0, "the server holds no stream for it")
    await loose.freeze()
    await stage.says(job, "while", "it is put away")
    await loose.wake()
    await tab.evaluate("dispatchEvent(new PageTransitionEvent('pageshow', { persisted: true }))")
    await tab.until_seq(job.id, await stage.last(job))
    await ends_right(stage, job, tab)
    report("put away and back", box, 5)


async def _none(tab: ClientTab, code: str) -> bool:
    return bool(await tab.evaluate(code) == 0)


async def test_a_page_in_the_background_sees_everything(
    stage: Stage, box: Middlebox, tabs: LooseProfile
) -> None:
    """Hidden, with timers that fire once a second: events come as they happen, and a cut is mended."""
    job = await stage.job()
    loose, tab = await following(tabs, box, job.id)
    await loose.hide()
    assert await tab.evaluate("document.visibilityState") == "hidden"
    await tab.until_seq(job.id, await stage.says(job, "to", "the background"))
    box.cuts()
    await tab.until_seq(job.id, await stage.says(job, "after the cut"))
    await ends_right(stage, job, tab)
    await loose.show()
    report("in the background", box, 6)


@pytest.mark.parametrize("years", [-30, 30])
async def test_a_clock_that_is_wrong_by_decades_changes_nothing(
    stage: Stage, box: Middlebox, browser: Browser, years: int
) -> None:
    """Times of the server are shown, and nothing is decided by them: a cut is mended, the end is seen."""
    job = await stage.job()
    async with profile(browser) as context:
        tab = await open_tab(context, box, ahead_years=years)
        assert abs(await tab.evaluate("new Date().getFullYear()") - 2026) >= abs(years) - 1
        await tab.follow(job.id)
        await tab.until_connection(job.id, "live")
        box.cuts()
        await tab.until_seq(job.id, await stage.says(job, "one", "two"))
        await ends_right(stage, job, tab)
        report(f"a clock {years} years ahead", box, 5)
