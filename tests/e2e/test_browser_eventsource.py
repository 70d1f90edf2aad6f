"""What a browser's own EventSource makes of the stream, without any code of ours in the page."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from contract.files import byte_cases, transcripts
from tests.support.page import tab
from tests.support.proxy import TcpProxy
from tests.support.stack import Stack
from tests.support.wait import eventually

if TYPE_CHECKING:
    from playwright.async_api import Browser, Page, Response

pytestmark = [pytest.mark.anyio, pytest.mark.browser]

# The way a stranger would write it, after the first example he finds.
_LISTEN = """([url, closes]) => {
  window.source = new EventSource(url);
  window.got = [];
  for (const type of ["snapshot", "status", "progress", "log", "output", "stalled", "end", "gap"])
    source.addEventListener(type, (e) => {
      got.push({ type, id: e.lastEventId, data: e.data });
      if (type === "end" && closes) source.close();
    });
}"""


class Visit:
    """A page with one EventSource; `answers` are the status codes that its requests got, in order."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.answers: list[int] = []
        page.on("response", self._answered)

    async def listen(self, url: str, *, closes: bool) -> None:
        await self.page.evaluate(_LISTEN, [url, closes])

    async def got(self) -> list[dict[str, Any]]:
        events: list[dict[str, Any]] = await self.page.evaluate("got")
        return events

    async def closed(self) -> bool:
        return bool(await self.page.evaluate("source.readyState === EventSource.CLOSED"))

    def _answered(self, response: Response) -> None:
        if response.request.resource_type == "eventsource":
            self.answers.append(response.status)


@asynccontextmanager
async def visit(browser: Browser, url: str) -> AsyncIterator[Visit]:
    """Open the page of another thing on the same server, so that nothing else opens streams."""
    context = await browser.new_context()
    page = await context.new_page()
    await page.goto(f"{url}/healthz")
    yield Visit(page)
    await context.close()


async def test_who_listens_for_end_makes_one_connection(
    house: Stack, browser: Browser, tmp_path: Path
) -> None:
    """A checksum of a real tree from the snapshot to the digest, then the source is closed and stays so."""
    job = await house.submit("files.checksum", path="milepost")
    async with visit(browser, house.url) as page:
        await page.listen(house.stream_url(job["id"]), closes=True)
        await eventually(page.closed, "the source is closed")
        events = await page.got()
        assert events[0]["type"] == "snapshot"
        end = json.loads(events[-1]["data"])
        assert (events[-1]["type"], end["status"]) == ("end", "succeeded")
        assert len(end["result"]["digest"]) == 64
        assert page.answers == [200]


async def test_who_ignores_end_comes_back_once_and_is_told_to_stop(house: Stack, browser: Browser) -> None:
    """The body ends, the browser reconnects by itself, gets 204, and never asks again."""
    job = await house.submit("demo.count", steps=5, delay_seconds=0.05)
    async with visit(browser, house.url) as page:
        await page.listen(house.stream_url(job["id"]), closes=False)
        await eventually(page.closed, "the browser gave up")  # CLOSED is final (WHATWG HTML §9.2.2)
        assert page.answers == [200, 204]
        events = await page.got()
        assert [event["type"] for event in events].count("end") == 1
        assert events[-1]["type"] == "end"


async def test_a_cut_connection_is_resumed_without_hole_or_repetition(house: Stack, browser: Browser) -> None:
    """The browser sends the last id that it saw; every event is dispatched once, in order."""
    async with TcpProxy(house.url) as proxy, visit(browser, proxy.url) as page:
        job = await house.submit("demo.count", steps=60, delay_seconds=0.1)
        path = house.stream_url(job["id"]).removeprefix(house.url)
        await page.listen(proxy.url + path, closes=True)
        await eventually(lambda: _has(page, 4), "it has begun")
        proxy.drop_all()
        await eventually(page.closed, "the source is closed")
        ids = [int(event["id"].split("-")[1]) for event in await page.got()]
        assert ids == list(range(ids[0], ids[-1] + 1))
        assert len(page.answers) == 2


async def _has(page: Visit, count: int) -> bool:
    return len(await page.got()) >= count


HARD_TEXTS = {
    "line-ends": "a\rb\nc\r\nd\x85e\u2028f\u2029g\x0bh\x0ci\x1cj",
    "nul-and-controls": "before\x00after\x01\x1b[31m\x7f",
    "like-a-frame": "\n\ndata: no\nevent: end\nid: 7\n\n: comment",
    "emoji": "👩🏽‍💻 🏴󠁧󠁢󠁳󠁣󠁴󠁿 é ﷽ \ufeff \uffff",
    "megabyte": "1 MB \u2028 " * 131_072,
}


@pytest.mark.parametrize("name", HARD_TEXTS)
async def test_any_text_arrives_as_it_was(house: Stack, browser: Browser, name: str) -> None:
    """By message, by log line and by output, in Chromium's own decoder, and in one piece."""
    text = HARD_TEXTS[name]
    piece, times = (text[:9], len(text) // 9) if name == "megabyte" else (text, 1)
    job = await house.submit("page.speak", text=piece, times=times)
    async with visit(browser, house.url) as page:
        await page.listen(f"{house.stream_url(job['id'])}?last_event_id=", closes=True)
        await eventually(page.closed, "the source is closed")
    history = await house.http.get(f"/v1/jobs/{job['id']}/events", params={"limit": 500})
    output = next(event for event in history.json()["items"] if event["type"] == "output")
    assert output["data"] == piece * times
    async with visit(browser, house.url) as page:
        before = f"{output['cursor'].split('-')[0]}-1"
        await page.listen(f"{house.stream_url(job['id'])}?last_event_id={before}", closes=True)
        await eventually(page.closed, "the source is closed")
        said = {event["type"]: json.loads(event["data"]) for event in await page.got()}
        assert said["output"]["data"] == piece * times
        assert said["log"]["message"] == piece
        assert said["end"]["progress"]["message"] == piece


async def test_the_contract_holds_in_the_browser_too(house: Stack, browser: Browser) -> None:
    """The same golden files as under Node, by the engine that will run the code."""
    async with tab(browser) as page:
        await page.goto(house.url)
        stories = [{"events": one.events, "snapshots": one.snapshots} for one in transcripts()]
        different = await page.page.evaluate(
            """async (stories) => {
              const { fold } = await import("./src/fold.js");
              const same = (a, b) => a === b || (Object(a) === a && Object(b) === b
                && Object.keys(a).length === Object.keys(b).length && Object.keys(a).every((k) => same(a[k], b[k])));
              // Every member that a transcript promises (contract/README.md); it may be older than the newest members.
              const kept = (job, promised) => Object.keys(promised).every((k) => same(job[k], promised[k]));
              const wrong = [];
              for (const [index, { events, snapshots }] of stories.entries()) {
                let job = null;
                for (const [n, event] of events.entries()) {
                  job = fold(job, event);
                  if (!kept(job, snapshots[n])) wrong.push([index, n]);
                }
              }
              return wrong;
            }""",
            stories,
        )
        assert different == []


async def test_our_decoder_agrees_with_the_browsers(browser: Browser) -> None:
    """Every case of bytes, given to Chromium's EventSource itself: the contract says what browsers do."""
    context = await browser.new_context()
    page = await context.new_page()
    cases = {case.name: case for case in byte_cases()}

    async def serve(route: Any) -> None:
        name = route.request.url.rpartition("/")[2]
        if name in cases:
            body = b"".join(cases[name].chunks)
            await route.fulfill(status=200, content_type="text/event-stream", body=body)
        else:
            await route.fulfill(status=200, content_type="text/html", body="<title>bytes</title>")

    await page.route("**/*", serve)
    await page.goto("http://bytes.test/")
    for name, case in cases.items():
        kinds = sorted({frame.event for frame in case.frames})
        frames = await page.evaluate(
            """([name, kinds]) => new Promise((resolve) => {
              const source = new EventSource(`/${name}`), frames = [];
              for (const kind of kinds)
                source.addEventListener(kind, (e) => frames.push({ event: e.type, data: e.data, id: e.lastEventId }));
              source.addEventListener("error", (e) => { if (!("data" in e)) { source.close(); resolve(frames); } });
            })""",
            [name, kinds],
        )
        assert frames == [{"event": f.event, "data": f.data, "id": f.id} for f in case.frames], name
    await context.close()
