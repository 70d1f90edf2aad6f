"""A stream of many jobs that is cut again and again, across processes: nothing lost, nothing twice."""

from __future__ import annotations

import asyncio
import random
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Any

import pytest
from milepost_api.hub.subscription import CONFLATE_FRAMES
from redis.asyncio import Redis

from milepost.log import JobLog
from milepost.log.keys import bookmark_key
from milepost.redis import connect
from tests.support.jobs import PlayedJob
from tests.support.many import Told, assert_exact, opened, read, read_on, read_up_to
from tests.support.proxy import TcpProxy
from tests.support.redis import RedisServer
from tests.support.stack import Reached, Stack
from tests.support.wait import eventually

pytestmark = pytest.mark.anyio
Start = Callable[..., Awaitable[Stack]]


@pytest.fixture(scope="module")
async def two(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stack]:
    """Two APIs and no worker: the tests play it. Those that hurt an API start one more."""
    folder = tmp_path_factory.mktemp("many")
    with RedisServer(folder / "redis") as server:
        async with Stack(
            folder, server, apis=2, workers=0, settings={"MILEPOST_PING_SECONDS": "1"}
        ) as running:
            yield running


@pytest.fixture
def redis_server(two: Stack) -> Reached:
    """What `redis` and `joblog` are of."""
    return two.redis


async def follow(base: str, told: Told, ids: Sequence[str]) -> int:
    """Read to the end, however often the connection is cut, as an impatient client does. Returns how often it was."""
    for cuts in range(500):
        try:
            async with opened(base, told, jobs=ids) as stream:
                if stream.status == 204:
                    assert told.is_over
                    return cuts
                assert stream.status == 200
                await read_on(stream, told)
        except (OSError, asyncio.IncompleteReadError):
            pass  # cut before the head had come
        if told.is_over:
            return cuts
    raise AssertionError(f"no end after 500 connections: {told.counts()}")


async def play(job: PlayedJob, chance: random.Random, events: int) -> int:
    """Let a job live. Returns the number of its last event."""
    for n in range(events):
        await asyncio.sleep(chance.uniform(0, 0.02))
        await (job.progress(n) if n % 2 else job.log(f"line {n}"))
    await job.end()
    return events + 3


async def play_before(told: Told, job: PlayedJob, chance: random.Random, enough: Callable[[], bool]) -> int:
    """Let a job live until it is enough. Returns the number of its last event.

    It stays so near to its reader, however slow that is on this machine, that nothing gives way to later progress.
    """
    seq = 2
    while not enough():
        await asyncio.sleep(chance.uniform(0, 0.02))
        if seq - told.reached.get(job.id, 0) < CONFLATE_FRAMES // 2:
            await (job.progress(seq) if seq % 2 else job.log(f"line {seq}"))
            seq += 1
    await job.end()
    return seq + 1


async def test_cut_again_and_again_between_two_processes(two: Stack, joblog: JobLog) -> None:
    """Of each job exactly 1..N, with one snapshot, though every connection goes to the other process."""
    chance = random.Random(20261121)
    jobs = [await PlayedJob.running(joblog) for _ in range(20)]
    told = Told()
    async with TcpProxy(*two.urls[:2]) as proxy, asyncio.TaskGroup() as group:
        proxy.cut_next_after(*(chance.randrange(300, 9000) for _ in range(60)))
        reading = group.create_task(follow(proxy.url, told, [job.id for job in jobs]))
        playing = [
            group.create_task(play_before(told, job, chance, lambda: proxy.connections > 40)) for job in jobs
        ]
    assert reading.result() >= 40
    assert not told.counts()["gap"]
    assert_exact(told, {job.id: one.result() for job, one in zip(jobs, playing, strict=True)})
    assert told.counts()["end"] == 1
    assert told.events[-1]["by_status"] == {"succeeded": 20}


async def test_after_the_end_there_is_nothing_to_come_back_for(two: Stack, joblog: JobLog) -> None:
    """204 by any process for the id of the end; one that was cut just before it gets the rest."""
    job = await PlayedJob.running(joblog)
    await job.end()
    told = await read(two.urls[0], jobs=[job.id])
    assert told.types() == ["selection", "snapshot", "job_end", "end"]
    for url in two.urls[:2]:
        async with opened(url, told, jobs=[job.id]) as stream:
            assert stream.status == 204
    for seen, rest in ((1, ["job_end", "end"]), (2, ["end"])):
        again = Told(last_id=told.ids[seen])
        assert (await read(two.urls[1], again, jobs=[job.id])).types() == ["selection", *rest]
        assert again.events[0]["resumed"] is True


async def test_a_reader_is_taken_back_to_what_it_saw(two: Stack, joblog: JobLog) -> None:
    """Whatever number it comes back with, from the first to the last: the two halves are the whole."""
    jobs = [await PlayedJob.running(joblog) for _ in range(3)]
    ids = [job.id for job in jobs]
    chance = random.Random(7)
    told = Told()
    async with opened(two.urls[0], jobs=ids) as stream:
        await read_on(stream, told, until="selection")
        await asyncio.gather(*(play(job, chance, 4) for job in jobs))
        await read_on(stream, told)
    sent = [(n, e) for n, e in enumerate(told.events) if told.ids[n]]
    for n, _ in sent[:-1]:
        again = Told(told.events[: n + 1], told.ids[: n + 1], told.ids[n])
        await read(two.urls[1], again, jobs=ids)
        assert_exact(again, dict.fromkeys(ids, 7))
        assert again.events[-1]["by_status"] == {"succeeded": 3}


async def test_a_connection_that_died_unnoticed_is_no_obstacle(two: Stack, joblog: JobLog) -> None:
    """Its process still believes that it is read, and is asked where the reader was."""
    job = await PlayedJob.running(joblog)
    told = Told()
    async with TcpProxy(two.urls[0]) as proxy, opened(proxy.url, jobs=[job.id]) as stream:
        await read_on(stream, told, until="snapshot")
        proxy.blackhole()
        await job.log("while nobody heard")
        async with opened(two.urls[1], told, jobs=[job.id]) as second:
            await job.end()
            await read_on(second, told)
        proxy.restore()
    assert told.types(job.id) == ["snapshot", "log", "job_end"]
    assert not told.counts()["gap"]


async def test_a_reader_of_a_killed_process_is_told_that_it_starts_anew(two: Stack, joblog: JobLog) -> None:
    """Nobody knows where it was: a gap of the whole, and everything there is."""
    job = await PlayedJob.running(joblog)
    told, doomed = Told(), await two.add_api()
    async with opened(two.urls[-1], jobs=[job.id]) as stream:
        await read_on(stream, told, until="snapshot")
        doomed.kill()
    again = Told(last_id=told.last_id)
    await job.end()
    await read(two.urls[1], again, jobs=[job.id])
    assert again.types() == ["gap", "selection", "snapshot", "job_end", "end"]
    gap = again.events[0]
    assert (gap["job_id"], gap["requested"], gap["reason"]) == (None, told.last_id, "lost")
    assert again.events[1]["resumed"] is False


async def test_what_is_no_id_of_a_stream_gets_a_gap(two: Stack, joblog: JobLog, redis: Redis) -> None:
    """Garbage, an id of a job's own stream, a number that was never given: never an error, never a wait."""
    job = await PlayedJob.running(joblog)
    await job.end()
    told = await read(two.urls[0], jobs=[job.id])
    name = told.last_id.rpartition("-")[0]
    other = await read(two.urls[0], batch="none")
    cases = {
        "garbage": "invalid",
        "x" * 9000: "invalid",
        told.events[1]["cursor"]: "lost",
        f"{name}-99": "ahead",
        f"{name[:10]}fff-1": "lost",
        other.last_id: "invalid",
    }
    for text, reason in cases.items():
        again = await read(two.urls[1], Told(last_id=text), jobs=[job.id])
        assert again.types() == ["gap", "selection", "snapshot", "job_end", "end"], text
        assert again.events[0]["reason"] == reason, text
    await eventually(lambda: redis.exists(bookmark_key(name)), "the bookmark is kept")
    await redis.delete(bookmark_key(name))
    again = await read(two.urls[1], Told(last_id=told.last_id), jobs=[job.id])
    assert again.events[0]["reason"] == "lost"


async def test_a_reader_that_keeps_the_cursors_itself(two: Stack, joblog: JobLog) -> None:
    """`job=ID@CURSOR` goes on after that event of that job; one whose end was seen is not repeated."""
    job, done = await PlayedJob.running(joblog), await PlayedJob.running(joblog)
    await job.log("one")
    await job.log("two")
    await job.end()
    await done.end()
    first = await read(two.urls[0], jobs=[job.id, done.id])
    epoch = first.of(job.id)[0]["cursor"].partition("-")[0]
    end = first.of(done.id, "job_end")[0]["cursor"]
    told = await read(two.urls[1], jobs=[f"{job.id}@{epoch}-3", f"{done.id}@{end}"])
    assert told.types() == ["selection", "log", "job_end", "end"]
    assert told.of(job.id)[0]["message"] == "two"
    assert told.events[-1]["by_status"] == {"succeeded": 2}
    told = await read(two.urls[1], jobs=[f"{job.id}@nothing"])
    assert told.types() == ["selection", "gap", "snapshot", "job_end", "end"]


async def test_a_process_that_leaves_says_so_and_another_goes_on(two: Stack, joblog: JobLog) -> None:
    """`reconnect`, a clean end of the body; what follows is exactly what was missed."""
    jobs = [await PlayedJob.running(joblog) for _ in range(5)]
    ids = [job.id for job in jobs]
    told, leaving = Told(), await two.add_api()
    async with opened(two.urls[-1], jobs=ids) as stream:
        await read_up_to(stream, told, 5, "snapshot")
        leaving.send(signal.SIGTERM)
        await read_on(stream, told)
        assert stream.ended_clean
    assert (told.events[-1]["type"], told.events[-1]["reason"]) == ("reconnect", "shutdown")
    for job in jobs:
        await job.log("meanwhile")
        await job.end()
    await read(two.urls[1], told, jobs=ids)
    assert_exact(told, dict.fromkeys(ids, 4))
    assert not told.counts()["gap"]


async def test_redis_restarts_in_between(stack: Start, tmp_path: Any) -> None:
    """Streams go on over the same connection or a new one; each job is told to its end, without a hole."""
    with RedisServer(tmp_path / "own-redis") as server:
        running = await stack(redis=server, apis=1, workers=0)
        redis = connect(server.url)
        joblog = JobLog(redis)
        jobs = [await PlayedJob.running(joblog) for _ in range(10)]
        told = Told()
        async with opened(running.url, jobs=[job.id for job in jobs]) as stream:
            await read_up_to(stream, told, 10, "snapshot")
            server.process.stop()
            server.process.start()
            await eventually(redis.ping, "Redis is back", ignoring=(Exception,))
            for job in jobs:
                await job.log("after")
                await job.end()
            await read_on(stream, told)
        if not told.is_over:
            await follow(running.url, told, [job.id for job in jobs])
        await redis.aclose()
    for job in jobs:
        assert told.types(job.id)[-2:] == ["log", "job_end"] or "gap" in told.types(job.id)
        assert told.types(job.id).count("job_end") == 1
