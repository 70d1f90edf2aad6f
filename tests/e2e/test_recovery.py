"""Whatever dies, every job reaches exactly one end, and every stream is told."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.support.follow import assert_one_history, follow, of_the_job
from tests.support.redis import RedisServer
from tests.support.sse import RawStream, open_stream
from tests.support.stack import BUILTIN_TASKS, Stack
from tests.support.wait import eventually

Start = Callable[..., Awaitable[Stack]]
FROZEN_FOR_SECONDS = float(os.environ.get("FROZEN_FOR_SECONDS", "7"))
"""Half a minute of it, for those who have the time: FROZEN_FOR_SECONDS=30."""
MODULES = (BUILTIN_TASKS, "tests.support.tasks.played")


async def history(running: Stack, job_id: str) -> list[dict[str, Any]]:
    """Return every event of a finished job, from the first."""
    async with open_stream(running.stream_url(job_id)) as stream:
        epoch = (await stream.rest())[0]["cursor"].split("-")[0]
    async with open_stream(running.stream_url(job_id), last_event_id=f"{epoch}-0") as stream:
        return await stream.rest()


async def has_begun(running: Stack, job_id: str, step: int) -> bool:
    current = (await running.job(job_id))["progress"]["current"]
    return current is not None and current >= step


async def test_a_killed_worker_is_noticed_and_its_job_goes_on(stack: Start) -> None:
    """At default settings, within 30 s of the kill: stalled, another attempt, its end, without a hole.

    A job without attempts left ends as lost; one whose worker was only frozen is out of its hands when it wakes up.
    """
    running = await stack(workers=2, modules=MODULES, settings={"MILEPOST_CONCURRENCY": "2"})
    jobs = [await running.submit("test.count", steps=60, delay_seconds=0.25) for _ in range(2)]
    last = [await running.submit("demo.count", steps=60, delay_seconds=0.25) for _ in range(2)]
    for job in (*jobs, *last):
        await eventually(lambda job_id=job["id"]: has_begun(running, job_id, 1), "it runs")  # type: ignore[misc]
    streams = [asyncio.create_task(follow([running.url], job["id"])) for job in (*jobs, *last)]
    victim, frozen = running.workers
    victim.kill()
    frozen.pause()
    relief = running.add_worker(MILEPOST_CONCURRENCY="10")
    await running.wait_for_worker(relief)

    async def taken_over() -> bool:
        seen = [await running.job(job["id"]) for job in jobs]
        lost = [await running.job(job["id"]) for job in last]
        return all(job["attempt"] == 2 for job in seen) and all(job["done"] for job in lost)

    await eventually(taken_over, "every job is in other hands", deadline=30)
    frozen.resume()  # now it goes on with what it had
    for job, told in zip((*jobs, *last), await asyncio.gather(*streams), strict=True):
        events = of_the_job(told)
        assert_one_history(events)
        kinds = [(event["type"], event.get("status")) for event in events]
        assert ("stalled", None) in kinds
        if job in jobs:
            assert ("status", "retrying") in kinds
            retrying = next(event for event in events if event.get("status") == "retrying")
            assert retrying["error"]["code"] == "worker_lost"
            assert (events[-1]["status"], events[-1]["attempt"], events[-1]["result"]) == ("succeeded", 2, 60)
            second = events.index(retrying)
            attempts = [event["attempt"] for event in events if event["type"] == "log"]
            assert attempts == sorted(attempts)
            steps = [e["message"] for e in events[second:] if e["type"] == "log"]
            assert steps == [f"step {i}" for i in range(60)]  # and none that a frozen worker said later
        else:
            assert (events[-1]["status"], events[-1]["error"]["code"]) == ("failed", "worker_lost")
    for job in (*jobs, *last):  # the frozen worker has had time to say what it wanted
        assert_ended_once(await history(running, job["id"]))


def assert_ended_once(events: list[dict[str, Any]]) -> None:
    assert [event["seq"] for event in events] == list(range(1, len(events) + 1))
    assert [event["type"] for event in events].count("end") == 1
    assert events[-1]["type"] == "end"


@pytest.mark.slow
@pytest.mark.timeout(FROZEN_FOR_SECONDS + 240)
async def test_a_redis_that_is_frozen_loses_nothing(
    stack: Start, redis_server: RedisServer, tmp_path: Path
) -> None:
    """SIGSTOP: streams stay open, ping, say that they lag and that they do not any more; the job goes on."""
    running = await stack(modules=MODULES, settings={"MILEPOST_PING_SECONDS": "1"})
    done = tmp_path / "done"
    job = await running.submit("test.count_until", file=str(done), delay_seconds=0.1)
    async with open_stream(running.stream_url(job["id"])) as stream:
        events = await stream.until("log")
        redis_server.pause()
        try:
            until = asyncio.get_running_loop().time() + FROZEN_FOR_SECONDS
            while asyncio.get_running_loop().time() < until or b": degraded" not in stream.body:
                events += await stream.until("ping")
        finally:
            redis_server.resume()
        reading = asyncio.create_task(stream.rest())
        await eventually(lambda: b": live" in stream.body, "it says that it does not lag any more")
        done.touch()
        events += await reading
    assert stream.ended_clean
    assert_one_history([event for event in events if "seq" in event])
    assert (events[-1]["status"], events[-1]["attempt"]) == ("succeeded", 1)
    steps = [event["message"] for event in events if event["type"] == "log"]
    assert steps == [f"step {i}" for i in range(int(steps[0].split()[1]), events[-1]["result"])]
    assert [stream.body.count(words) for words in (b": degraded\n\n", b": live\n\n")] == [1, 1]


async def another_epoch(stream: RawStream, cursor: str) -> list[dict[str, Any]]:
    """Read up to and with the first event of another epoch than the cursor's."""
    epoch, seen = cursor.split("-", maxsplit=1)[0], []
    async for event in stream.events():
        seen.append(event)
        if not event.get("cursor", epoch).startswith(epoch):
            return seen
    raise AssertionError(f"the stream ended in the epoch {epoch}")


async def test_a_restart_of_redis_loses_nothing(stack: Start, redis_server: RedisServer) -> None:
    """With its append-only file, once asked to leave and once killed: the job goes on, and so does its stream."""
    running = await stack(modules=MODULES)
    job = await running.submit("test.count", steps=40, delay_seconds=0.1)
    async with open_stream(running.stream_url(job["id"])) as stream:
        events = await stream.until("log")
        for how in (signal.SIGTERM, signal.SIGKILL):
            redis_server.restart(how)
            events += await another_epoch(stream, events[-1]["cursor"])
        events += await stream.rest()
    assert stream.ended_clean
    assert_one_history([event for event in events if "seq" in event], epochs=3)
    assert (events[-1]["status"], events[-1]["result"], events[-1]["attempt"]) == ("succeeded", 40, 1)
    steps = [int(e["message"].removeprefix("step ")) for e in events if e["type"] == "log"]
    assert steps == list(range(steps[0], 40))


def assert_spread(waits: list[int], least: int, most: int) -> None:
    """Kolmogorov and Smirnov: even draws are further from a straight line once in a million times."""
    assert least <= min(waits)
    assert max(waits) <= most
    share = [(wait - least) / (most - least) for wait in sorted(waits)]
    distance = max(abs(place / len(share) - at) for place, at in enumerate(share, 1))
    assert distance < 2.7 / len(share) ** 0.5, f"the waits are not spread: {sorted(waits)}"


@pytest.mark.slow
@pytest.mark.timeout(300)
async def test_an_api_that_leaves_takes_no_event_along(stack: Start, tmp_path: Path) -> None:
    """SIGTERM with 1,000 streams: each body ends in order with its own wait, the process leaves with 0 in time,

    and who comes back to the one that replaces it misses nothing.
    """
    running = await stack(modules=MODULES, settings={"MILEPOST_SHUTDOWN_GRACE_SECONDS": "10"})
    done = tmp_path / "done"
    jobs = [await running.submit("test.count_until", file=str(done), delay_seconds=0.2) for _ in range(4)]
    async with AsyncExitStack() as opened:
        streams: list[tuple[str, RawStream]] = []
        for i in range(1000):
            job_id = jobs[i % 4]["id"]
            stream = open_stream(running.stream_url(job_id))
            streams.append((job_id, await opened.enter_async_context(stream)))
        before = await asyncio.gather(*(stream.until("snapshot") for _, stream in streams))
        reading = [asyncio.create_task(stream.rest()) for _, stream in streams]
        api = running.apis[0]
        api.send(signal.SIGTERM)
        assert await asyncio.to_thread(api.wait, 15) == 0
        after = await asyncio.gather(*reading)
    assert {stream.ended_clean for _, stream in streams} == {True}
    waits = [events[-1]["retry_ms"] for events in after]
    assert [events[-1]["type"] for events in after] == ["reconnect"] * 1000
    assert [stream.decoder.retry_ms for _, stream in streams] == waits
    assert_spread(waits, 500, 5500)
    assert "Traceback" not in api.output()
    await running.add_api()

    async def resumed(i: int) -> list[dict[str, Any]]:
        job_id, stream = streams[i]
        url = f"{running.urls[1]}/v1/jobs/{job_id}/status/stream"
        async with open_stream(url, last_event_id=stream.decoder.last_event_id) as rest:
            return await rest.rest()

    done.touch()
    rests = await asyncio.gather(*(resumed(i) for i in range(40)))
    for i, rest in enumerate(rests):
        whole = [event for event in (*before[i], *after[i], *rest) if "seq" in event]
        assert_one_history(whole)
        assert whole[-1]["status"] == "succeeded"


async def test_a_killed_api_costs_a_reconnection(stack: Start) -> None:
    """The other one serves the rest; the job notices nothing."""
    running = await stack(apis=2, modules=MODULES)
    job = await running.submit("test.count", steps=30, delay_seconds=0.1)
    following = asyncio.create_task(follow(running.urls, job["id"]))
    await eventually(lambda: has_begun(running, job["id"], 3), "it runs")
    running.apis[0].kill()
    events = of_the_job(await following)
    assert_one_history(events)
    assert events[-1]["status"] == "succeeded"
