"""Jobs that wait, over real processes: what those who watch are told, and that the wait ends."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

import pytest

from milepost.client import AsyncClient
from tests.support.page import WatchedPage, tab
from tests.support.schemas import check_event
from tests.support.sse import RawStream, open_stream
from tests.support.stack import BUILTIN_TASKS, Stack
from tests.support.wait import DEADLINE_SECONDS, eventually

if TYPE_CHECKING:
    from playwright.async_api import Browser, Locator

Start = Callable[..., Awaitable[Stack]]
NOBODY = "no_worker_for_queue"


async def heard(stream: RawStream, reason: str | None) -> list[dict[str, Any]]:
    """Read up to the event that says what the job waits for."""
    seen = []
    async for event in stream.events():
        check_event(event)
        seen.append(event)
        if event["type"] == "waiting" and (event["waiting"] or {}).get("reason") == reason:
            return seen
    raise AssertionError(f"the stream ended without {reason!r}; it held {[one['type'] for one in seen]}")


async def test_a_killed_worker_is_missed(stack: Start) -> None:
    """`kill -9` of the last worker is told to who waits behind its job; a new worker then runs both."""
    running = await stack(settings={"MILEPOST_CONCURRENCY": "1", "MILEPOST_LEASE_SECONDS": "4"} | QUICK)
    first = await running.http.post(
        "/v1/jobs", json={"task": "demo.count", "params": {"steps": 600}, "max_attempts": 2}
    )
    await eventually(lambda: is_running(running, first.json()["id"]), "the worker is busy")
    second = await running.submit("demo.count", steps=1, delay_seconds=0)
    async with (
        open_stream(running.stream_url(second["id"])) as stream,
        open_stream(running.stream_url(second["id"]), headers={"Accept": "application/x-ndjson"}) as lines,
    ):
        await heard(stream, "workers_busy")
        running.workers[0].kill()
        killed_at = time.monotonic()
        seen = await heard(stream, NOBODY)
        print(f"a killed worker was missed after {time.monotonic() - killed_at:.1f} s")
        assert "milepost worker MODULE" in seen[-1]["waiting"]["message"]
        assert (await running.job(second["id"]))["waiting"] == seen[-1]["waiting"]
        async for line in lines.lines():
            if NOBODY.encode() in line:
                break
        await running.http.post(f"/v1/jobs/{first.json()['id']}/cancel")
        running.add_worker()
        rest = await stream.rest()
    assert rest[-1]["status"] == "succeeded"
    assert [one["type"] for one in rest if one["type"] == "waiting"] in ([], ["waiting"])


QUICK = {"MILEPOST_SILENCE_SECONDS": "2"}


async def is_running(running: Stack, job_id: str) -> bool:
    return bool((await running.job(job_id))["status"] == "running")


async def test_a_task_of_the_next_deploy_waits_for_it(stack: Start) -> None:
    """Accepted before any worker knows it, shown so, and run by the first that does."""
    running = await stack()
    async with AsyncClient(running.url) as client:
        job = await client.submit("t.new", allow_unknown_task=True)
        assert job.waiting is not None
        assert job.waiting.reason == "no_worker_for_task"
        running._modules = (BUILTIN_TASKS, "tests.support.tasks.newer")
        running.add_worker()
        reasons = [state.waiting and state.waiting.reason async for state in client.watch(job.id)]
        ended = await client.get(job.id)
    assert (ended.status, ended.result, ended.attempt) == ("succeeded", "known", 1)
    assert reasons[0] == "no_worker_for_task"
    assert reasons[-1] is None


async def test_a_job_that_nobody_could_begin_ends_and_says_why(stack: Start) -> None:
    """After its start timeout, although a worker was there all the time."""
    running = await stack()
    body = {"task": "t.newest", "allow_unknown_task": True, "start_timeout_seconds": 1}
    job = (await running.http.post("/v1/jobs", json=body)).json()
    async with open_stream(running.stream_url(job["id"])) as stream:
        end = (await stream.rest())[-1]
    assert (end["status"], end["error"]["code"]) == ("expired", "start_timeout")
    assert "offers the task 't.newest'" in end["error"]["message"]


@pytest.mark.browser
@pytest.mark.parametrize(
    ("width", "scheme"), [(1180, "light"), (1180, "dark"), (375, "light"), (375, "dark")]
)
async def test_the_page_says_where_a_job_stands_and_what_is_missing(
    stack: Start, chromium: Browser, width: int, scheme: Any
) -> None:
    """In line behind others, then without any worker, also where a job is polled for want of a connection."""
    running = await stack(settings={"MILEPOST_CONCURRENCY": "1"})
    busy = await running.submit("demo.count", steps=600)
    await eventually(lambda: is_running(running, busy["id"]), "the worker is busy")
    waiting = [(await running.submit("demo.count", steps=1))["id"] for _ in range(4)]
    lost = (
        await running.http.post("/v1/jobs", json={"task": "demo.count", "params": {}, "queue": "video"})
    ).json()
    viewport = {"width": width, "height": 900}
    async with tab(chromium, viewport=viewport, color_scheme=scheme, device_scale_factor=2) as page:
        await page.goto(running.url)
        for place in ("1st", "2nd", "3rd", "4th"):
            await page.page.get_by_text(f"Waiting: {place} in line").wait_for()
        await missing(page, lost["id"], "video").wait_for()
        await page.shoot(f"waiting-{width}-{scheme}")
        assert await page.page.evaluate("document.documentElement.scrollWidth") <= width
        running.workers[0].kill()
        for job_id in waiting:
            await missing(page, job_id, "default").wait_for(timeout=DEADLINE_SECONDS * 1000)
        await page.shoot(f"missing-{width}-{scheme}")


def missing(page: WatchedPage, job_id: str, queue: str) -> Locator:
    sentence = f"No worker listens on the queue '{queue}'"
    return page.row(job_id).locator(".message", has_text=sentence)
