"""Pages that follow jobs by our client and show them by our element; what each was told is kept."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from tests.support.jobs import PlayedJob
from tests.support.middlebox import Middlebox
from tests.support.stage import Stage
from tests.support.wait import eventually

if TYPE_CHECKING:
    from playwright.async_api import Browser, BrowserContext, Page

SUCCEEDED = ("Succeeded", 100.0)
"""What the bar of a job shows that has succeeded."""

YEAR_MS = 365 * 86_400_000
HURRY = 5
"""How many times as fast time goes by in a page that hurries: what waits 45 s in others takes 9 s in it."""

# `follow` puts a bar on the page and reads the job beside it, the two ways in which people use the client.
SCRIPT = """
window.told = {};
window.hurry = (speed, shift) => {
  const { Date, setTimeout, setInterval, performance } = window;
  const [since, began, timeout] = [Date.now(), performance.now(), AbortSignal.timeout.bind(AbortSignal)];
  const now = performance.now.bind(performance), today = Date.now;
  window.setTimeout = (run, ms = 0, ...rest) => setTimeout(run, ms / speed, ...rest);
  window.setInterval = (run, ms = 0, ...rest) => setInterval(run, ms / speed, ...rest);
  AbortSignal.timeout = (ms) => timeout(ms / speed);
  performance.now = () => began + (now() - began) * speed;
  window.Date = class extends Date {
    constructor(...given) { given.length ? super(...given) : super(window.Date.now()); }
    static now() { return Math.round(since + (today() - since) * speed + shift); }
  };
};
window.openClient = async ({ tokens, ...options }) => {
  const { Milepost } = await import("/src/index.js");
  await import("/src/define.js");
  window.given = 0; // how often a token was asked for
  const getToken = tokens && (() => tokens[Math.min(given++, tokens.length - 1)]);
  window.client = new Milepost({ ...options, ...(getToken && { getToken }) });
};
window.follow = async (id, { bar = true } = {}) => {
  const mine = { seqs: [], types: [], connections: [], problems: [], job: null, over: false, error: null };
  told[id] = mine;
  if (bar) {
    const element = document.createElement("milepost-progress");
    element.client = client;
    element.setAttribute("job", id);
    document.querySelector("main").append(element);
  }
  try {
    for await (const { job, event, connection, problem } of client.watch(id)) {
      if (event) mine.types.push(event.type);
      if (event?.seq !== undefined) mine.seqs.push([event.type === "snapshot" ? "snapshot" : "event", event.seq]);
      if (mine.connections.at(-1) !== connection) mine.connections.push(connection);
      if (problem) mine.problems.push(problem);
      mine.job = job;
    }
    mine.over = true;
  } catch (error) {
    mine.error = { name: error.name, status: error.status, message: error.message };
  }
};
true;  // a function as the last value would be called
"""

_BAR = """(id) => {
  const root = document.querySelector(`milepost-progress[job="${id}"]`)?.shadowRoot;
  const bar = root?.querySelector("progress");
  return root ? [root.querySelector('[part="status"]').innerText, bar.hasAttribute("value") ? bar.value : null] : null;
}"""


class ClientTab:
    """One tab. `evaluate` runs code in it: Playwright's, or that of a tab which it does not hold."""

    def __init__(self, evaluate: Callable[..., Awaitable[Any]], page: Page | None = None) -> None:
        self.evaluate, self._page = evaluate, page

    @property
    def page(self) -> Page:
        assert self._page is not None
        return self._page

    async def start(self, base: str, *, ahead_years: float = 0, **options: Any) -> None:
        """Make the one client of the page. `tokens` is what its getToken gives, one after the other."""
        await self.evaluate(SCRIPT)
        if ahead_years:
            await self.evaluate("(shift) => hurry(1, shift)", ahead_years * YEAR_MS)
        await self.evaluate("(options) => openClient(options)", {"baseUrl": f"{base}/", **options})

    async def hurry(self) -> None:
        """Let time go by faster in this page from now on; timers that run already keep theirs."""
        await self.evaluate("(speed) => hurry(speed, 0)", HURRY)

    async def follow(self, *ids: str, bar: bool = True) -> None:
        """Follow these jobs from now on, without waiting for anything."""
        await self.evaluate("([ids, bar]) => { for (const id of ids) follow(id, { bar }) }", [list(ids), bar])

    async def told(self, job_id: str) -> dict[str, Any]:
        """Return what was said of a job so far."""
        found: dict[str, Any] = await self.evaluate("(id) => told[id]", job_id)
        return found

    async def bar(self, job_id: str) -> tuple[str, float | None]:
        """Return the words and the place of a job's bar."""
        found: Any = await self.evaluate(_BAR, job_id)
        return tuple(found)

    async def until_told(self, job_id: str, events: int = 1) -> None:
        """Wait until so many events have come."""

        async def enough() -> bool:
            return len((await self.told(job_id))["seqs"]) >= events

        await eventually(enough, f"the page has been told {events} events")

    async def until_seq(self, job_id: str, seq: int) -> None:
        """Wait until an event that is as new as this has come."""

        async def seen() -> bool:
            return any(one >= seq for _, one in (await self.told(job_id))["seqs"])

        await eventually(seen, f"the page has seen {seq}")

    async def until_connection(self, job_id: str, *names: str) -> None:
        """Wait until the connection is one of these."""

        async def so() -> bool:
            return (await self.told(job_id))["connections"][-1:] in [[name] for name in names]

        await eventually(so, f"the connection is {' or '.join(names)}")

    async def until_right(self, job_id: str, bar: tuple[str, float | None] = SUCCEEDED) -> dict[str, Any]:
        """Wait until the client is through and the bar shows this; return what the client was told."""

        async def over() -> bool:
            told = await self.told(job_id)
            assert told["error"] is None, told
            return bool(told["over"])

        async def right() -> bool:
            return await self.bar(job_id) == bar

        await eventually(over, "the client is through")
        await eventually(right, f"the bar shows {bar}")
        return await self.told(job_id)


def dense(told: dict[str, Any], last: int, *, snapshots: int = 1) -> None:
    """Fail unless every event came once and in order, after the first snapshot, to the `last`.

    `snapshots` is how many there may be: each later one is a place where the page went on without what it had missed.
    """
    kinds = [kind for kind, _ in told["seqs"]]
    seqs: Sequence[int] = [seq for _, seq in told["seqs"]]
    assert kinds[0] == "snapshot", told
    assert kinds.count("snapshot") <= snapshots, told
    assert list(seqs) == list(range(seqs[0], last + 1)), told


async def ends_right(stage: Stage, job: PlayedJob, *tabs: ClientTab) -> None:
    """End the job, and fail unless each of these tabs shows that and was told every event once."""
    last = await stage.ends(job)
    for tab in tabs:
        dense(await tab.until_right(job.id), last)


@asynccontextmanager
async def profile(browser: Browser) -> AsyncIterator[BrowserContext]:
    """A browser profile: its tabs share locks, channels and the six connections."""
    context = await browser.new_context()
    context.set_default_timeout(60_000)
    try:
        yield context
    finally:
        await context.close()


async def open_tab(
    context: BrowserContext, box: Middlebox, base: str | None = None, page: str | None = None, **options: Any
) -> ClientTab:
    """Open a tab of the box's `page` with a client for the API behind the box, or behind another `base`."""
    opened = await context.new_page()
    await opened.goto(page or box.page)
    tab = ClientTab(opened.evaluate, opened)
    await tab.start(base or box.url, **options)
    return tab


def report(name: str, box: Middlebox, at_most: int) -> None:
    """Print how many requests it took, and fail when that is a storm."""
    print(f"{name}: {len(box.asked)} requests (at most {at_most}), of which {len(box.streams)} for streams")
    assert len(box.asked) <= at_most, "\n".join(map(str, box.asked))
