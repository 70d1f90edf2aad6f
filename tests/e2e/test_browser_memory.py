"""A page that is open for days: what it has watched, it forgets."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from milepost.ids import new_job_id
from milepost.log import NewJob
from tests.support.jobs import AT
from tests.support.middlebox import Middlebox
from tests.support.page_client import ClientTab, open_tab, profile
from tests.support.stage import Stage
from tests.support.wait import eventually

if TYPE_CHECKING:
    from playwright.async_api import Browser, CDPSession

pytestmark = [pytest.mark.anyio, pytest.mark.browser]

WATCHES = 10_000
JOBS = 2_000
AT_ONCE = 200
"""So many are followed at a time, 20 of them by bars as well."""

MOST_BYTES = 1_000_000
"""May be added by all but the first crowds. A job is 1 kB and more: kept by watch that would be 9 MB, by id 1.6 MB."""

# One signal for all, as a page has that ends everything when it is left; bars come and go with their jobs.
_WATCH = """async (ids) => {
  window.leaving ??= new AbortController();
  window.bars ??= 0;
  const main = document.querySelector("main");
  const shown = ids.slice(0, 20).map((id) => {
    const bar = document.createElement("milepost-progress");
    bar.client = client;
    bar.setAttribute("job", id);
    main.append(bar);
    return new Promise((done) => bar.addEventListener("milepost-end", done, { once: true }));
  });
  const ends = await Promise.all(ids.map(async (id) => {
    let last;
    for await (const { job } of client.watch(id, { signal: leaving.signal })) last = job;
    return last.status;
  }));
  await Promise.all(shown);
  bars += main.children.length;
  main.replaceChildren();
  return ends.filter((status) => status === "cancelled").length;
}"""


@dataclass(frozen=True)
class Weight:
    """What the page holds after a garbage collection."""

    heap_bytes: int
    nodes: int
    listeners: int


async def weigh(session: CDPSession) -> Weight:
    for _ in range(2):  # the first lets finalizers run, the second takes what they have let go
        await session.send("HeapProfiler.collectGarbage")
    found = {one["name"]: one["value"] for one in (await session.send("Performance.getMetrics"))["metrics"]}
    return Weight(int(found["JSHeapUsedSize"]), int(found["Nodes"]), int(found["JSEventListeners"]))


async def made(stage: Stage, count: int) -> list[str]:
    """Create jobs that are over: cancelled before anybody took them."""
    ids = [new_job_id() for _ in range(count)]
    await stage.joblog.create_all([NewJob(id=one, task="played", created_at=AT) for one in ids])
    for one in ids:
        await stage.joblog.cancel(one)
    return ids


async def test_a_page_that_has_watched_ten_thousand_times_holds_nothing_of_it(
    stage: Stage, box: Middlebox, browser: Browser
) -> None:
    """By the client and by bars, one crowd after the other: heap, nodes and listeners stay as they were."""
    async with profile(browser) as context:
        tab = await open_tab(context, box)
        session = await context.new_cdp_session(tab.page)
        await session.send("Performance.enable")
        crowds = [await made(stage, AT_ONCE) for _ in range(JOBS // AT_ONCE)]
        await watch(tab, *crowds[:2])  # what is kept once and for all is there then: code, tables
        before = await weigh(session)
        await watch(tab, *crowds[2:], *crowds * (WATCHES // JOBS - 1))
        after = await weigh(session)
        grown = after.heap_bytes - before.heap_bytes
        print(f"{WATCHES} watches: {len(box.asked)} requests; {before}, then {after}")
        assert grown < MOST_BYTES
        assert after.nodes <= before.nodes + 50
        assert after.listeners <= before.listeners + 10
        assert await tab.evaluate("bars") == WATCHES // AT_ONCE * 20
        await eventually(lambda: box.open_streams == 0, "no stream is left")


async def watch(tab: ClientTab, *crowds: list[str]) -> None:
    """Watch these jobs to their end, a crowd at a time."""
    for crowd in crowds:
        assert await tab.evaluate(_WATCH, crowd) == len(crowd)
