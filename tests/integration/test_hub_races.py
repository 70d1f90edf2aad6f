"""Streams that open while something else happens: the end, a lost connection, another history, a goodbye."""

from __future__ import annotations

import asyncio
import random
from contextlib import closing

import pytest
from milepost_api.hub import Times
from redis.asyncio import Redis

from milepost.codec import Cursor
from milepost.log import JobLog, View, live_channel
from tests.support.hub import (
    PATIENT,
    all_frames,
    assert_whole,
    frames_of,
    happen_unheard,
    hub_on,
    kinds,
    next_frames,
    seqs,
    subscribe,
)
from tests.support.jobs import PlayedJob
from tests.support.redis import RedisServer
from tests.support.wait import DEADLINE_SECONDS, eventually

BRISK = Times(reconcile=0.2, linger=0.05, answer=DEADLINE_SECONDS)


async def live_channels(redis: Redis) -> int:
    return len(await redis.pubsub_channels("mp:*:live"))


# --- the end ---------------------------------------------------------------------------------------


async def test_a_stream_that_opens_while_its_job_ends_ends(redis_server: RedisServer, joblog: JobLog) -> None:
    """2,000 times, with nothing that would find a missed end later."""
    async with hub_on(redis_server.url, joblog, times=PATIENT) as hub:
        chance = random.Random(20261121)

        async def race() -> None:
            job = await PlayedJob.running(joblog)

            async def end() -> None:
                await asyncio.sleep(chance.uniform(0, 0.01))
                await job.end()

            async def read() -> None:
                await asyncio.sleep(chance.uniform(0, 0.01))
                assert_whole(await frames_of(hub, job.id))

            await asyncio.gather(end(), read(), read())

        for _ in range(40):
            await asyncio.gather(*(race() for _ in range(25)))


async def test_an_end_that_was_never_published_is_found(redis_server: RedisServer, redis: Redis) -> None:
    """A lost last message has no successor to betray it; looking again finds it."""
    joblog = JobLog(redis)
    async with hub_on(redis_server.url, joblog, times=BRISK) as hub:
        job = await PlayedJob.running(joblog)
        subscription = await subscribe(hub, job.id, None)
        await next_frames(subscription)
        await happen_unheard(redis, job, 3, "end", status="succeeded")
        assert kinds(await all_frames(subscription)) == ["end"]


async def test_a_message_without_its_predecessor_brings_both(redis_server: RedisServer, redis: Redis) -> None:
    """A hole in the numbers is filled from the history before anything after it is shown; nothing else looks."""
    joblog = JobLog(redis)
    async with hub_on(redis_server.url, joblog, times=PATIENT) as hub:
        job = await PlayedJob.running(joblog)
        subscription = await subscribe(hub, job.id, None)
        await next_frames(subscription)
        await happen_unheard(redis, job, 3, "log")
        await happen_unheard(redis, job, 4, "log")
        await job.log("heard")
        await job.end()
        assert seqs(await all_frames(subscription)) == [3, 4, 5, 6]


async def test_what_is_heard_just_after_a_fill_is_not_left_lying(
    redis_server: RedisServer, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the last look of a fill and its removal from the list of those under way, another may be needed."""
    joblog = JobLog(redis)
    async with hub_on(redis_server.url, joblog, times=PATIENT) as hub:
        job = await PlayedJob.running(joblog)
        topic = await hub.watch(job.id)
        reads = 0

        async def read(job_id: str, after: Cursor | None = None) -> View:
            nonlocal reads
            reads += 1
            view = await joblog.read(job_id, after)
            if reads == 1:  # runs when the task of this fill has ended, and before its own callbacks
                asyncio.get_running_loop().call_soon(hub._fill, topic)
            return view

        monkeypatch.setattr(hub._reads, "read", read)
        hub._fill(topic)
        await eventually(lambda: reads == 2, "the second fill has looked, too")
        hub.leave(topic)


async def test_what_others_publish_on_a_channel_does_no_harm(redis_server: RedisServer, redis: Redis) -> None:
    """Neither bytes that are no text nor a place in the far future silence or confuse a stream."""
    joblog = JobLog(redis)
    async with hub_on(redis_server.url, joblog) as hub:
        job = await PlayedJob.running(joblog)
        subscription = await subscribe(hub, job.id, None)
        epoch = (await joblog.read(job.id)).cursor.epoch
        for junk in (
            b"\xff\xfe \xff",
            b"",
            b" ",
            f"{epoch}-99 end".encode(),
            b"zz-1 log {}",
            b"\xff-1 log {}",
        ):
            await redis.publish(live_channel(job.id), junk)
        before = (await redis.info("commandstats"))["cmdstat_evalsha"]["calls"]
        await job.log("real")
        await job.end()
        assert_whole(await all_frames(subscription))
        # A place that the history never reaches is looked for once, and not again and again.
        calls = (await redis.info("commandstats"))["cmdstat_evalsha"]["calls"] - before
        assert calls < 20


# --- those who leave -------------------------------------------------------------------------------


async def test_readers_that_leave_before_their_first_frame_leave_nothing(
    redis_server: RedisServer, joblog: JobLog, redis: Redis
) -> None:
    """500 are cancelled at every moment of opening: topics, subscriptions and tasks return to what they were."""
    chance = random.Random(7)
    async with hub_on(redis_server.url, joblog, times=BRISK) as hub:
        before = len(asyncio.all_tasks())
        jobs = [await PlayedJob.running(joblog) for _ in range(20)]

        async def come_and_go() -> None:
            opening = asyncio.create_task(subscribe(hub, chance.choice(jobs).id, None))
            for _ in range(chance.randrange(12)):
                await asyncio.sleep(0)
            opening.cancel()
            done = (await asyncio.gather(opening, return_exceptions=True))[0]
            if not isinstance(done, BaseException):
                done.close()

        for _ in range(10):
            await asyncio.gather(*(come_and_go() for _ in range(50)))
        await eventually(lambda: hub.topics == hub.streams == 0, "no topic is left")

        async def nothing_is_subscribed() -> bool:
            return await live_channels(redis) == 0

        await eventually(nothing_is_subscribed, "no subscription is left")
        await eventually(lambda: len(asyncio.all_tasks()) == before, "no task is left")


async def test_5000_viewers_leave_no_subscription(
    redis_server: RedisServer, joblog: JobLog, redis: Redis
) -> None:
    """One after the other, of running and of finished jobs: everything returns to what it was."""
    async with hub_on(redis_server.url, joblog, times=BRISK) as hub:
        before = len(asyncio.all_tasks())
        jobs = [await PlayedJob.running(joblog) for _ in range(50)]
        for job in jobs[:25]:
            await job.end()

        async def view(jobs: list[PlayedJob]) -> None:
            for i in range(500):
                with closing(await subscribe(hub, jobs[i % len(jobs)].id, None)) as subscription:
                    await next_frames(subscription)

        await asyncio.gather(*(view(jobs[n::10]) for n in range(10)))

        async def nothing_is_subscribed() -> bool:
            return await live_channels(redis) == 0

        await eventually(nothing_is_subscribed, "no subscription is left")
        assert (hub.topics, hub.streams) == (0, 0)
        await eventually(lambda: len(asyncio.all_tasks()) == before, "no task is left")
