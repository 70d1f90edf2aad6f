"""A page in a real browser, with everything that it should never do watched for."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import count
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from tests.support.process import ROOT

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
  recorded.updates.push({ id: job?.id, type: event?.type, percent: job?.progress.percent, connection }));
new PerformanceObserver((list) => {
  for (const entry of list.getEntries()) {
    const moved = entry.sources.map((source) => source.node?.outerHTML?.slice(0, 80));
    if (!entry.hadRecentInput) recorded.shifts.push([entry.value, ...moved]);
  }
}).observe({ type: "layout-shift", buffered: true });
"""


_STREAM = "/status/stream"


class WatchedPage:
    """One tab. `streams` are the addresses of the streams that were asked for, in order."""

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
        """Wait until the page knows who is there and what the list holds."""
        await self.page.locator("main h1").wait_for()
        await self.page.locator("#workers[data-there]").wait_for()

    async def show(self, address: str) -> None:
        """Go to another view: `#/jobs?status=failed`."""
        await self.page.evaluate("address => { location.hash = address }", address)

    async def compose(self, task: str, **params: Any) -> None:
        """Fill in the form of a task."""
        await self.show(f"#/new?task={task}")
        await self.page.locator("#submit:enabled", has_text=f"Start {task}").wait_for()
        for name, value in params.items():
            field = self.page.locator(f"#param-{name}")
            if await field.evaluate("field => field.tagName") == "SELECT":
                await field.select_option(label=str(value))
            else:
                await field.fill(str(value))

    async def start(self, task: str, **params: Any) -> str:
        """Fill in the form, press the button, and return the id of the job whose page then comes."""
        await self.compose(task, **params)
        await self.page.locator("#submit").click()
        return await self.new_job()

    async def new_job(self) -> str:
        """Wait for the page of a job, and return its id."""
        id_ = await self.page.locator("section.job").get_attribute("id")
        assert id_ is not None
        return id_.removeprefix("job-")

    async def open(self, job_id: str) -> None:
        """Go to the page of a job."""
        await self.show(f"#/jobs/{job_id}")
        await self.card(job_id).wait_for()

    async def show_list(self, query: str = "") -> None:
        """Go to the list of jobs."""
        await self.show(f"#/jobs{query}")
        await self.page.locator("section.jobs").wait_for()

    async def job_ids(self) -> list[str]:
        """Return the ids of the jobs of the list that are in the page, from top to bottom."""
        ids = await self.page.locator("li.row").evaluate_all("rows => rows.map(row => row.id)")
        return [one.removeprefix("row-") for one in ids]

    def card(self, job_id: str) -> Locator:
        """The page of a job."""
        return self.page.locator(f"#job-{job_id}")

    def row(self, job_id: str) -> Locator:
        """The job in the list."""
        return self.page.locator(f"#row-{job_id}")

    async def confirm(self, button: str) -> None:
        """Press a button of the dialog that asks."""
        await self.page.get_by_role("dialog").get_by_role("button", name=button, exact=True).click()

    async def until(self, job_id: str, status: str) -> None:
        """Wait until the page of a job says this, such as `Succeeded`."""
        await self.card(job_id).locator('[part="status"]', has_text=status).wait_for()

    async def until_row(self, job_id: str, status: str) -> None:
        """Wait until the list says this of a job."""
        await self.row(job_id).locator(".state", has_text=status).wait_for()

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
        # Of a list only what is on the screen is drawn: a picture of the whole page would show holes.
        whole = not await self.page.locator("section.jobs").count()
        await self.page.screenshot(path=ARTIFACTS / f"page-{name}.png", full_page=whole)

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
        if urlsplit(request.url).path.endswith(_STREAM):
            self.streams.append(request.url)
            self.open_streams += 1
            self.most_open_streams = max(self.most_open_streams, self.open_streams)

    def _over(self, request: Request) -> None:
        if urlsplit(request.url).path.endswith(_STREAM):
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
