"""Streams while Redis is away, frozen or cuts its subscribers off: nothing is lost, and lagging is said."""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest
from milepost_api.hub import COMMENT, Frame, Times
from redis.asyncio import Redis

from milepost.background import end
from milepost.errors import StoreUnavailable
from milepost.log import JobLog
from milepost.redis import connect
from tests.support.hub import (
    PATIENT,
    all_frames,
    assert_whole,
    frames_of,
    hub_on,
    kinds,
    next_frames,
    subscribe,
)
from tests.support.jobs import PlayedJob
from tests.support.proxy import TcpProxy
from tests.support.redis import RedisServer
from tests.support.wait import DEADLINE_SECONDS, eventually

BRISK = Times(reconcile=0.2, linger=0.05, answer=DEADLINE_SECONDS)
KILLED_FOR_SECONDS = float(os.environ.get("KILLED_FOR_SECONDS", "8"))
"""A minute of it, for those who have one: KILLED_FOR_SECONDS=60."""
ALERT = replace(PATIENT, probe=0.1, late=0.3)


def events(frames: list[Frame]) -> list[Frame]:
    return [frame for frame in frames if frame.kind != COMMENT]


def comments(frames: list[Frame]) -> list[bytes]:
    return [frame.sse for frame in frames if frame.kind == COMMENT]


async def test_streams_end_though_the_subscription_is_killed(
    redis_server: RedisServer, joblog: JobLog
) -> None:
    """`CLIENT KILL TYPE pubsub` at any moment around the end, 120 rounds: found after the reconnection."""
    async with hub_on(redis_server.url, joblog, times=PATIENT) as hub, connect(redis_server.url) as killer:
        chance = random.Random(5)
        for _ in range(120):
            jobs = [await PlayedJob.running(joblog) for _ in range(3)]
            opened = [await subscribe(hub, job.id, None) for job in jobs]

            async def kill() -> None:
                await asyncio.sleep(chance.uniform(0, 0.004))
                await killer.execute_command("CLIENT", "KILL", "TYPE", "pubsub")

            async def play(job: PlayedJob) -> None:
                await job.log("one")
                await asyncio.sleep(chance.uniform(0, 0.004))
                await job.end()

            late = jobs[0].id
            streams = asyncio.gather(*map(all_frames, opened), frames_of(hub, late))
            await asyncio.gather(kill(), *map(play, jobs))
            for frames in await asyncio.wait_for(streams, 5):
                assert_whole(frames)


@asynccontextmanager
async def subscribers_killed(url: str, every_seconds: float) -> AsyncIterator[list[int]]:
    """Cut all subscribers off again and again until the block ends; holds how many it were each time."""
    cut: list[int] = []

    async def kill(killer: Redis) -> None:
        while True:
            cut.append(await killer.execute_command("CLIENT", "KILL", "TYPE", "pubsub"))
            await asyncio.sleep(every_seconds)

    async with connect(url) as killer:
        killing = asyncio.create_task(kill(killer))
        try:
            yield cut
        finally:
            await end(killing)


@pytest.mark.timeout(300)
async def test_subscribers_that_are_killed_ten_times_a_second_lose_nothing(
    redis_server: RedisServer, joblog: JobLog
) -> None:
    """While jobs report: every stream has every event, once and in order, and its end."""
    async with hub_on(redis_server.url, joblog, times=PATIENT) as hub:
        jobs = [await PlayedJob.running(joblog) for _ in range(10)]
        reading = [
            asyncio.create_task(all_frames(await subscribe(hub, job.id))) for job in jobs for _ in range(3)
        ]
        until = asyncio.get_running_loop().time() + KILLED_FOR_SECONDS

        async def play(job: PlayedJob) -> None:
            while asyncio.get_running_loop().time() < until:
                await job.log("step")
                await asyncio.sleep(0.02)
            await job.end()

        async with subscribers_killed(redis_server.url, 0.1) as cut:
            await asyncio.gather(*map(play, jobs))
            for frames in await asyncio.gather(*reading):
                assert_whole(events(frames))
                assert len(frames) > KILLED_FOR_SECONDS * 5
        assert sum(cut) > KILLED_FOR_SECONDS * 3, "the subscription has been cut again and again"


async def test_streams_outlive_a_restart_of_redis(redis_server: RedisServer, joblog: JobLog) -> None:
    """The hub comes back by itself and what happened meanwhile is there, once and in order."""
    async with hub_on(redis_server.url, joblog, times=replace(BRISK, reconcile=3600)) as hub:
        job = await PlayedJob.running(joblog)
        subscription = await subscribe(hub, job.id, None)
        reading = asyncio.create_task(all_frames(subscription))
        await job.log("before")
        redis_server.stop()
        await eventually(lambda: not hub.connected, "the hub has noticed")
        redis_server.start()
        await job.log("after")
        await job.end()
        assert_whole(await reading)


async def test_a_frozen_redis_hangs_nobody(redis_server: RedisServer, joblog: JobLog) -> None:
    """Who opens a stream is asked to come back; who has one gets the rest when Redis goes on."""
    impatient = Times(reconcile=0.2, linger=0.05, answer=0.3)
    async with hub_on(redis_server.url, joblog, times=impatient) as hub:
        job, other = await PlayedJob.running(joblog), await PlayedJob.running(joblog)
        subscription = await subscribe(hub, job.id, None)
        await next_frames(subscription)
        redis_server.pause()
        try:
            with pytest.raises(StoreUnavailable):
                await subscribe(hub, other.id, None)
            with pytest.raises(StoreUnavailable):
                await subscribe(hub, job.id, "zzzzzzzz-1")
        finally:
            redis_server.resume()
        await job.end()
        assert kinds(await all_frames(subscription)) == ["end"]
        await eventually(lambda: hub.topics == 0, "what could not be opened is gone")


async def test_a_reader_that_fell_behind_while_redis_is_away_is_asked_to_come_back(
    redis_server: RedisServer, joblog: JobLog
) -> None:
    """What it needs is in the history, which cannot be read: a goodbye, not a broken body."""
    async with hub_on(redis_server.url, joblog, times=Times(reconcile=3600, answer=0.3)) as hub:
        job = await PlayedJob.running(joblog)
        slow = await subscribe(hub, job.id, None)
        await next_frames(slow)
        for i in range(300):
            await job.log(str(i))
        [topic] = hub._topics.values()
        await eventually(lambda: topic.last == 302, "the hub has heard all")
        redis_server.pause()
        try:
            assert kinds(await all_frames(slow)) == ["reconnect"]
        finally:
            redis_server.resume()


# --- hearing nothing -------------------------------------------------------------------------------


async def test_a_stream_says_once_that_it_lags_and_once_that_it_does_not_any_more(
    redis_server: RedisServer, redis: Redis
) -> None:
    """Redis is frozen for longer than the hub's patience; the connection is kept, and nothing is lost."""
    joblog = JobLog(redis)
    async with hub_on(redis_server.url, joblog, times=ALERT) as hub:
        job = await PlayedJob.running(joblog)
        reading = asyncio.create_task(all_frames(await subscribe(hub, job.id)))
        await job.log("before")
        redis_server.pause()
        try:
            await eventually(lambda: hub.health.degraded, "the hub has noticed")
            silent = hub.health.silent_seconds
            await eventually(lambda: hub.health.silent_seconds > 3 * silent, "it lasts")
        finally:
            redis_server.resume()
        await eventually(lambda: not hub.health.degraded, "it hears again")
        await job.log("after")
        await job.end()
        frames = await reading
    assert_whole(events(frames))
    assert comments(frames) == [b": degraded\n\n", b": live\n\n"]


async def test_who_comes_while_streams_lag_is_told_after_the_snapshot(
    redis_server: RedisServer, joblog: JobLog
) -> None:
    """The hub is deaf and can still read: a stream opens as always, goes on by looking, and says what it is."""
    times = replace(ALERT, reconcile=0.2)
    async with TcpProxy(redis_server.url) as proxy, hub_on(proxy.url, joblog, times=times) as hub:
        job, warm = await PlayedJob.running(joblog), await PlayedJob.running(joblog)
        watched = await subscribe(hub, warm.id)
        await next_frames(watched)
        proxy.blackhole()
        await eventually(lambda: hub.health.degraded, "the hub has noticed")
        assert comments(await next_frames(watched)) == [b": degraded\n\n"]
        late = await subscribe(hub, warm.id)
        assert kinds(await next_frames(late)) == ["snapshot", COMMENT]
        late.close()
        await warm.log("read and not heard")
        assert kinds(await next_frames(watched)) == ["log"]
        await warm.end()
        assert kinds(await all_frames(watched)) == ["end"]
        proxy.restore()
        await eventually(lambda: not hub.health.degraded, "it hears again")
        opened = await subscribe(hub, job.id)
        assert kinds(await next_frames(opened)) == ["snapshot"]
        opened.close()


async def test_a_connection_that_is_replaced_at_once_is_not_worth_a_word(
    redis_server: RedisServer, redis: Redis
) -> None:
    """Whoever watches hears of no trouble that is over before it could be noticed."""
    joblog = JobLog(redis)
    async with hub_on(redis_server.url, joblog, times=replace(PATIENT, probe=0.1, late=10)) as hub:
        job = await PlayedJob.running(joblog)
        reading = asyncio.create_task(all_frames(await subscribe(hub, job.id)))
        for _ in range(5):
            await redis.execute_command("CLIENT", "KILL", "TYPE", "pubsub")
            await eventually(lambda: not hub.connected, "it is cut off")
            await eventually(lambda: hub.connected, "it is back")
        await job.end()
        frames = await reading
    assert_whole(frames)


async def test_a_half_open_subscription_loses_nothing(redis_server: RedisServer, redis: Redis) -> None:
    """What was published meanwhile is read as soon as the hub listens on a new connection; nothing else looks."""
    joblog = JobLog(redis)
    async with TcpProxy(redis_server.url) as proxy, hub_on(proxy.url, joblog, times=ALERT) as hub:
        job = await PlayedJob.running(joblog)
        reading = asyncio.create_task(all_frames(await subscribe(hub, job.id)))
        await eventually(lambda: hub.streams == 1, "it is watched")
        proxy.deaden()
        for i in range(20):
            await job.log(str(i))
        await job.end()
        assert_whole(events(await reading))


async def test_a_hundred_streams_outlive_a_restart_of_redis(redis_server: RedisServer, redis: Redis) -> None:
    """Each of 100 jobs goes on: what is said before, while it is down (repeated by who says it) and after."""
    joblog = JobLog(redis)
    async with hub_on(redis_server.url, joblog, times=replace(BRISK, reconcile=3600)) as hub:
        jobs = [await PlayedJob.running(joblog) for _ in range(100)]
        reading = [asyncio.create_task(all_frames(await subscribe(hub, job.id))) for job in jobs]
        await asyncio.gather(*(job.log("before") for job in jobs))
        await asyncio.to_thread(redis_server.restart)
        await asyncio.gather(*(job.log("after") for job in jobs))
        await asyncio.gather(*(job.end() for job in jobs))
        for frames in await asyncio.gather(*reading):
            assert_whole(events(frames))
