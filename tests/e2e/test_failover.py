"""The master is lost, the Sentinels name another one: every accepted job still reaches its one end."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Awaitable, Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.support.redis import RedisServer
from tests.support.sentinels import Sentinels
from tests.support.sse import open_stream
from tests.support.stack import Stack
from tests.support.wait import eventually

pytestmark = pytest.mark.timeout(300)

Start = Callable[..., Awaitable[Stack]]
SETTINGS = {
    "MILEPOST_LEASE_SECONDS": "4",
    "MILEPOST_SILENCE_SECONDS": "2",
    "MILEPOST_CONCURRENCY": "4",
}
SLOTS, QUEUED, STEPS = 8, 8, 30


@pytest.fixture
def sentinels(tmp_path: Path) -> Iterator[Sentinels]:
    with Sentinels(tmp_path / "sentinels") as running:
        yield running


async def kill(sentinels: Sentinels, running: Stack) -> None:
    """`kill -9`; it comes back as a replica. Or as the master: on a starved machine the next one may seem dead, too."""
    master = await asyncio.to_thread(sentinels.kill_master)
    await replaced(sentinels, running, master)
    master.process.start()  # in this thread: the child dies with the thread that forked it
    await asyncio.to_thread(sentinels.wait_until_whole)


async def freeze(sentinels: Sentinels, running: Stack) -> None:
    """SIGSTOP; it wakes up in the belief that it is the master, with what it was told last, and is demoted."""
    master = await asyncio.to_thread(sentinels.pause_master)
    await replaced(sentinels, running, master)
    master.resume()
    await asyncio.to_thread(sentinels.wait_until_whole)


async def planned(sentinels: Sentinels, running: Stack) -> None:
    """`SENTINEL FAILOVER`: the old one lives and takes writes for seconds, which will be lost."""
    await asyncio.to_thread(sentinels.failover)
    await works(running)


async def replaced(sentinels: Sentinels, running: Stack, master: RedisServer) -> None:
    await asyncio.to_thread(sentinels.wait_for_other_master, master)
    await works(running)


async def works(running: Stack) -> None:
    """Return when the API can do its work again; nothing is restarted for that."""

    async def ready() -> bool:
        return bool((await running.http.get("/readyz")).status_code == 200)

    await eventually(ready, "the API has found the new master", ignoring=(httpx2.HTTPError,))


async def followed(url: str) -> list[dict[str, Any]]:
    """Follow a stream as an EventSource does, to its end."""
    events: list[dict[str, Any]] = []
    cursor: str | None = None
    while True:
        try:
            async with open_stream(url, last_event_id=cursor, deadline=120) as stream:
                async for event in stream.events():
                    cursor = event.get("cursor", cursor)
                    events.append(event)
            if events and events[-1]["type"] == "end":
                return events
        except (OSError, asyncio.IncompleteReadError):
            pass
        await asyncio.sleep(0.1)  # what `retry:` asks of a browser, and more


def records(running: Stack) -> dict[str, tuple[str, int]]:
    """Return status and attempt of all jobs that are done, as SQL has them."""
    with closing(sqlite3.connect(running.folder / "data" / "milepost.db")) as database:
        rows = database.execute("SELECT id, status, attempt FROM jobs WHERE done")
        return {job_id: (status, attempt) for job_id, status, attempt in rows}


@pytest.mark.parametrize("loss", [kill, freeze, planned])
async def test_a_failover_costs_no_job(
    stack: Start, sentinels: Sentinels, loss: Callable[[Sentinels, Stack], Awaitable[None]]
) -> None:
    """Running, queued, submitted after it: each ends once in SQL, and once on a stream that was open all the time."""
    running = await stack(
        redis=sentinels, workers=2, modules=("tests.support.tasks.played",), settings=SETTINGS
    )
    jobs = [await running.submit("test.count", steps=STEPS, delay_seconds=0.1) for _ in range(SLOTS + QUEUED)]
    streams = [asyncio.create_task(followed(running.stream_url(job["id"]))) for job in jobs]

    async def begun() -> bool:
        seen = [await running.job(job["id"]) for job in jobs]
        running_now = [job for job in seen if job["status"] == "running" and job["progress"]["current"] > 2]
        return len(running_now) == SLOTS

    await eventually(begun, "all slots are taken and the rest waits")
    await loss(sentinels, running)
    later = await running.submit("test.count", steps=3, delay_seconds=0.01)
    streams.append(asyncio.create_task(followed(running.stream_url(later["id"]))))
    wanted = {job["id"] for job in (*jobs, later)}
    _, late = await asyncio.wait(streams, timeout=90)
    assert not late, f"{len(late)} streams have no end; {[await running.job(job_id) for job_id in wanted]}"
    ends = {events[-1]["job_id"]: events[-1] for events in await asyncio.gather(*streams)}
    assert {job_id: end["status"] for job_id, end in ends.items()} == dict.fromkeys(wanted, "succeeded")
    done = await eventually(
        lambda: found if (found := records(running)).keys() == wanted else None, "SQL has every end"
    )
    assert done == {job_id: (end["status"], end["attempt"]) for job_id, end in ends.items()}
    for process in (*running.apis, *running.workers):
        process.check_alive()
        assert "Traceback" not in process.output(), process.name


async def test_a_master_that_is_cut_off_takes_nothing_and_loses_nothing(
    stack: Start, redis_server: RedisServer
) -> None:
    """With `min-replicas-to-write` it refuses what it could lose: 503, and it is done when it can be."""
    running = await stack(modules=("tests.support.tasks.played",), settings=SETTINGS)
    job = await running.submit("test.count", steps=1000, delay_seconds=0.1)
    cancel = f"/v1/jobs/{job['id']}/cancel"
    with redis_server.client() as admin:
        admin.config_set("min-replicas-to-write", 1)
        try:
            reply = await running.http.post(cancel)
            assert (reply.status_code, reply.headers["Retry-After"]) == (503, "2"), reply.text
            accepted = await running.submit("test.count", steps=1, delay_seconds=0)
        finally:
            admin.config_set("min-replicas-to-write", 0)
    assert (await running.http.post(cancel)).is_success
    ends = await asyncio.gather(*(followed(running.stream_url(one["id"])) for one in (job, accepted)))
    assert [events[-1]["status"] for events in ends] == ["cancelled", "succeeded"]
