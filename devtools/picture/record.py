"""Record a run: Redis, an API, a worker, and a page in Chromium that reads through a proxy which is cut."""

from __future__ import annotations

import asyncio
import os
import tempfile
import time
from datetime import datetime
from pathlib import Path
from typing import Any

from devtools.picture.run import Asked, Done, Run, Seen

PICTURES, CUT_AT_PERCENT, AWAY_SECONDS = 60, 28.0, 2.6

_PAGE = """<!doctype html><link rel="icon" href="data:,"><body>
<script type="module" src="/src/define.js"></script></body>"""
_FOLLOW = """(id) => {
  globalThis.seen = []
  document.addEventListener("milepost-update", ({ detail: { job, event, connection } }) => seen.push({
    at: (performance.timeOrigin + performance.now()) / 1000, connection, status: job?.status ?? "",
    percent: job?.progress.percent ?? 0, current: job?.progress.current ?? 0,
    id: event?.cursor ?? null, type: event?.type ?? null,
  }))
  const bar = document.createElement("milepost-progress")
  bar.setAttribute("job", id)
  document.body.append(bar)
}"""


async def record() -> Run:
    """Let a job run before a reader who is cut off in the middle; return what both saw."""
    from tests.support.proxy import TcpProxy
    from tests.support.redis import RedisServer
    from tests.support.stack import Stack

    with tempfile.TemporaryDirectory() as name, RedisServer(Path(name) / "redis") as redis:
        async with (
            Stack(Path(name), redis, modules=("devtools.picture.tasks",)) as stack,
            TcpProxy(stack.url) as proxy,
        ):
            return await _watch(stack, proxy)


async def _watch(stack: Any, proxy: Any) -> Run:
    from tests.support.browser import launched_chromium

    async with launched_chromium() as browser:
        page, asked = await browser.new_page(), list[tuple[float, str]]()
        page.on("request", lambda request: asked.append((time.time(), request.url.removeprefix(proxy.url))))
        await page.route("**/picture.html", lambda route: route.fulfill(body=_PAGE, content_type="text/html"))
        await page.goto(f"{proxy.url}/picture.html")
        await page.wait_for_function("Boolean(customElements.get('milepost-progress'))")
        job = await stack.submit("resize", pictures=PICTURES)
        await page.evaluate(_FOLLOW, job["id"])

        cut_at = await _until(page, f"seen.some(({{ percent }}) => percent >= {CUT_AT_PERCENT})")
        await proxy.refuse()
        proxy.drop_all()
        await asyncio.sleep(AWAY_SECONDS)
        back_at = await page.evaluate("(performance.timeOrigin + performance.now()) / 1000")
        await proxy.accept()
        await _until(page, "seen.some(({ type }) => type === 'end')")
        seen = await page.evaluate("seen")
    events = (await stack.http.get(f"/v1/jobs/{job['id']}/events?limit=500")).json()["items"]
    streams = [one for one in asked if "/status/stream" in one[1]]
    return _run(job["id"], streams, seen, events, cut_at, back_at)


async def _until(page: Any, condition: str) -> float:
    """Return when it came true, in seconds since 1970 by the clock of the page."""
    return float(
        await (
            await page.wait_for_function(
                f"({condition}) && (performance.timeOrigin + performance.now()) / 1000"
            )
        ).json_value()
    )


def _run(
    job_id: str,
    streams: list[tuple[float, str]],
    seen: list[Any],
    events: list[Any],
    cut_at: float,
    back_at: float,
) -> Run:
    start = seen[0]["at"]
    reader = tuple(Seen(**{**one, "at": round(one["at"] - start, 2)}) for one in seen)
    worker = tuple(
        Done(round(datetime.fromisoformat(one["at"]).timestamp() - start, 2), one["progress"]["percent"])
        for one in events
        if one["type"] == "progress" and one["progress"]["percent"] is not None
    )
    return Run(
        job_id=job_id,
        task="resize",
        total=PICTURES,
        unit="pictures",
        cut_at=round(cut_at - start, 2),
        back_at=round(back_at - start, 2),
        asked=tuple(Asked(round(at - start, 2), address) for at, address in streams),
        reader=reader,
        worker=worker,
    )


def find_chromium() -> None:
    """Use the browser that dev.py knows, unless the environment names one."""
    from devtools import tools

    if "MILEPOST_TEST_CHROMIUM" not in os.environ and (
        found := tools.first_that_works(tools.installed_chromiums())
    ):
        os.environ["MILEPOST_TEST_CHROMIUM"] = str(found)
