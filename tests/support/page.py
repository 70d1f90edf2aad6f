"""A page in a real browser, with everything that it should never do watched for."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from itertools import count
from typing import TYPE_CHECKING, Any

from tests.support.process import ROOT
from tests.support.wait import eventually

if TYPE_CHECKING:
    from playwright.async_api import Browser, BrowserContext, ConsoleMessage, Locator, Page, Request

ARTIFACTS = ROOT / "test-artifacts"
_BROKEN = count(1)

# Before any script of the page: what the policy refuses, what jumps, what the bars say.
_RECORDER = """
window.recorded = { violations: [], shifts: [], updates: [] };
document.addEventListener("securitypolicyviolation", (e) =>
  recorded.violations.push(`${e.violatedDirective} refused ${e.blockedURI} ${e.sourceFile}:${e.lineNumber}`));
document.addEventListener("milepost-update", ({ detail: { job, event, connection } }) =>
  recorded.updates.push({ id: job?.id, type: event?.type, percent: job?.progress.percent, connection, done: job?.done }));
new PerformanceObserver((list) => {
  for (const entry of list.getEntries()) {
    if (!entry.hadRecentInput) recorded.shifts.push([entry.value, ...entry.sources.map((s) => s.node?.outerHTML?.slice(0, 80))]);
  }
}).observe({ type: "layout-shift", buffered: true });
"""


class WatchedPage:
    """One tab. `streams` are the addresses that EventSources asked for, in order."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.complaints: list[str] = []
        self.streams: list[str] = []
        self.open_streams = 0
        self.most_open_streams = 0
        self._expected: list[re.Pattern[str]] = []
        page.on("console", self._console)
        page.on("pageerror", lambda error: self.complaints.append(f"uncaught: {error}"))
        page.on("request", self._request)
        page.on("requestfinished", self._over)
        page.on("requestfailed", self._over)

    def expect_complaint(self, pattern: str) -> None:
        """Say that the browser will report this, and is right to."""
        self._expected.append(re.compile(pattern))

    async def goto(self, url: str) -> None:
        """Open a page and wait until it can be used."""
        await self.page.goto(url)
        await self.ready()

    async def ready(self) -> None:
        await self.page.locator("#submit:enabled").wait_for()

    async def start(self, task: str, **params: Any) -> str:
        """Fill in the form, press the button, and return the id of the job that is then there."""
        before = await self.job_ids()
        await self.page.select_option("#task", task)
        for name, value in params.items():
            field = self.page.locator(f"#param-{name}")
            if await field.evaluate("field => field.tagName") == "SELECT":
                await field.select_option(label=str(value))
            else:
                await field.fill(str(value))
        await self.page.locator("#submit").click()
        return await self.new_job(before)

    async def new_job(self, before: Collection[str]) -> str:
        """Wait for a card that was not there `before`, and return the id of its job."""

        async def found() -> str:
            return next((one for one in await self.job_ids() if one not in before), "")

        return await eventually(found, "a new card")

    async def job_ids(self) -> list[str]:
        """Return the ids of the jobs on the page, from top to bottom."""
        ids = await self.page.locator("#cards > li").evaluate_all("cards => cards.map(card => card.id)")
        return [one.removeprefix("job-") for one in ids]

    def card(self, job_id: str) -> Locator:
        return self.page.locator(f"#job-{job_id}")

    async def until(self, job_id: str, status: str) -> None:
        """Wait until the card of a job says this, such as `Succeeded`."""
        await self.card(job_id).locator('[part="status"]', has_text=status).wait_for()

    async def updates(self, job_id: str) -> list[dict[str, Any]]:
        """Return what the page was told of a job, in order."""
        told: list[dict[str, Any]] = await self.page.evaluate("recorded.updates")
        return [one for one in told if one["id"] == job_id]

    async def percents(self, job_id: str) -> list[float]:
        """Return the different places where the bar of a job stood, in order."""
        seen = [one["percent"] for one in await self.updates(job_id) if one["percent"] is not None]
        return [percent for i, percent in enumerate(seen) if i == 0 or percent != seen[i - 1]]

    async def layout_shift(self) -> tuple[float, list[Any]]:
        """Return how much the page has jumped about by itself (web.dev/cls), and what jumped."""
        shifts: list[Any] = await self.page.evaluate("recorded.shifts")
        return sum(value for value, *_ in shifts), shifts

    async def shoot(self, name: str) -> None:
        """Keep a picture, for people to judge."""
        ARTIFACTS.mkdir(exist_ok=True)
        await self.page.screenshot(path=ARTIFACTS / f"page-{name}.png", full_page=True)

    async def check(self) -> None:
        """Fail if the browser had anything to complain about."""
        violations = (
            [] if self.page.is_closed() else await self.page.evaluate("window.recorded?.violations ?? []")
        )
        assert violations == []
        assert self.complaints == []

    def _console(self, message: ConsoleMessage) -> None:
        text = f"{message.type}: {message.text} ({message.location.get('url', '')})"
        if message.type in ("error", "warning") and not any(one.search(text) for one in self._expected):
            self.complaints.append(text)

    def _request(self, request: Request) -> None:
        if request.resource_type == "eventsource":
            self.streams.append(request.url)
            self.open_streams += 1
            self.most_open_streams = max(self.most_open_streams, self.open_streams)

    def _over(self, request: Request) -> None:
        if request.resource_type == "eventsource":
            self.open_streams -= 1


@asynccontextmanager
async def tab(
    browser: Browser, context: BrowserContext | None = None, **options: Any
) -> AsyncIterator[WatchedPage]:
    """Open a tab, in a browser profile of its own unless one is given; check it at the end."""
    own = context or await browser.new_context(**options)
    await own.add_init_script(_RECORDER)
    page = WatchedPage(await own.new_page())
    try:
        yield page
    except BaseException:
        await page.shoot(f"broken-{next(_BROKEN)}")
        raise
    await page.check()
    await (page.page.close() if context else own.close())
