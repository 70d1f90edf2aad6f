"""The hub over a real server: what its readers get, and that it stays within its bounds."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import closing
from dataclasses import replace

import pytest
from milepost_api.hub import AlreadyEnded, Hub, Wishes
from milepost_api.hub.opening import FOLLOW_MOST
from milepost_api.hub.topic import RING_BYTES, RING_EVENTS, Topic
from redis.asyncio import Redis

from milepost.codec import Cursor
from milepost.log import JobLog
from milepost.log.keys import events_key
from tests.support.hub import (
    PATIENT,
    all_frames,
    assert_whole,
    frames_of,
    hub_on,
    kinds,
    next_frames,
    seqs,
    subscribe,
    value,
)
from tests.support.jobs import PlayedJob
from tests.support.redis import RedisServer
from tests.support.wait import eventually


@pytest.fixture
async def hub(redis_server: RedisServer, joblog: JobLog) -> AsyncIterator[Hub]:
    async with hub_on(redis_server.url, joblog) as hub:
        yield hub


async def reads_of(redis: Redis) -> int:
    """Return how many scripts Redis has run so far."""
    return int((await redis.info("commandstats"))["cmdstat_evalsha"]["calls"])


# --- a stream ------------------------------------------------------------------------------------


async def test_a_fresh_reader_gets_the_snapshot_and_everything_after_it(hub: Hub, joblog: JobLog) -> None:
    """No hole, no duplicate, in order, down to the end."""
    job = await PlayedJob.running(joblog)
    subscription = await subscribe(hub, job.id, None)
    for i in range(10):
        await job.log(f"line {i}")
    await job.end()
    frames = await all_frames(subscription)
    assert_whole(frames)
    assert seqs(frames) == list(range(2, 14))


async def test_a_reader_that_comes_back_gets_exactly_what_it_missed(hub: Hub, joblog: JobLog) -> None:
    """From every place in the history; at its end there is nothing to come back for."""
    job = await PlayedJob.running(joblog)
    for i in range(40):
        await job.progress(i)
    await job.end()
    [_, end] = await frames_of(hub, job.id)
    epoch = value(end)["cursor"].partition("-")[0]
    for seen in range(end.seq):
        assert seqs(await frames_of(hub, job.id, f"{epoch}-{seen}")) == list(range(seen + 1, end.seq + 1))
    with pytest.raises(AlreadyEnded):
        await subscribe(hub, job.id, f"{epoch}-{end.seq}")


@pytest.mark.parametrize(
    ("cursor", "reason"),
    [
        ("nonsense", "invalid"),
        ("zzzzzzzz-1", "epoch"),
        ("{epoch}-999", "ahead"),
        ("\x00\r\n\xff" * 99, "invalid"),
    ],
)
async def test_a_cursor_that_cannot_be_served_is_told_so(
    hub: Hub, joblog: JobLog, cursor: str, reason: str
) -> None:
    """A gap that says why, then a snapshot to start again from."""
    job = await PlayedJob.running(joblog)
    epoch = (await joblog.read(job.id)).cursor.epoch
    subscription = await subscribe(hub, job.id, cursor.format(epoch=epoch))
    with closing(subscription):
        lost, snapshot = await next_frames(subscription)
    assert (lost.kind, value(lost)["reason"], snapshot.kind) == ("gap", reason, "snapshot")


async def test_what_the_history_no_longer_holds_is_a_gap(redis_server: RedisServer, redis: Redis) -> None:
    """A cursor older than the history is never served a part of it as if it were all."""
    short = JobLog(redis, history_limit=10)
    async with hub_on(redis_server.url, short) as hub:
        job = await PlayedJob.running(short)
        epoch = (await short.read(job.id)).cursor.epoch
        for i in range(500):  # the limit is approximate: whole nodes of the stream go
            await job.log(str(i))
        await job.end()
        frames = await frames_of(hub, job.id, f"{epoch}-1")
    assert kinds(frames) == ["gap", "snapshot", "end"]
    assert value(frames[0])["reason"] == "trimmed"


async def test_an_end_whose_history_is_gone_is_still_told(hub: Hub, joblog: JobLog, redis: Redis) -> None:
    """The state says that the job has ended: nobody waits for an event that is no more."""
    job = await PlayedJob.running(joblog)
    await job.end()
    cursor = (await joblog.read(job.id)).cursor
    await redis.delete(events_key(job.id))
    assert kinds(await frames_of(hub, job.id)) == ["snapshot", "end"]
    assert kinds(await frames_of(hub, job.id, f"{cursor.epoch}-1")) == ["gap", "snapshot", "end"]


async def test_who_comes_soon_after_another_gets_the_same_snapshot_and_all_that_followed(
    redis_server: RedisServer, joblog: JobLog, redis: Redis
) -> None:
    """Readers that come one after the other cost no read each, unless much has followed."""
    job = await PlayedJob.running(joblog)
    async with hub_on(redis_server.url, joblog, times=replace(PATIENT, share=3600)) as hub:
        first = await subscribe(hub, job.id, None)
        [shown] = await next_frames(first)
        before = await reads_of(redis)
        later = [await subscribe(hub, job.id, None) for _ in range(20)]
        assert [await next_frames(one) for one in later] == [[shown]] * 20
        assert await reads_of(redis) == before
        await job.log("news")
        assert [kinds(await next_frames(one)) for one in later] == [["log"]] * 20
        latest = await subscribe(hub, job.id, None)
        [told] = await next_frames(latest)
        assert (told.kind, told.seq) == ("snapshot", 3)
        assert await reads_of(redis) == before + 1  # that was the log itself
        for _ in range(FOLLOW_MOST + 1):
            await job.log("more")
        while latest.seq < FOLLOW_MOST + 4:
            await next_frames(latest)
        before = await reads_of(redis)
        last = await subscribe(hub, job.id, None)
        assert seqs(await next_frames(last)) == [FOLLOW_MOST + 4]
        assert await reads_of(redis) == before + 1
        for one in (first, latest, last, *later):
            one.close()


async def test_a_thousand_streams_that_open_at_once_cost_a_handful_of_reads(
    hub: Hub, joblog: JobLog, redis: Redis
) -> None:
    """A storm of reconnections is served by one read for each place to go on from."""
    job = await PlayedJob.running(joblog)
    for i in range(8):
        await job.progress(i)
    epoch = (await joblog.read(job.id)).cursor.epoch
    before = await reads_of(redis)
    opened = await asyncio.gather(*(subscribe(hub, job.id, f"{epoch}-{i % 10}") for i in range(1000)))
    calls = await reads_of(redis) - before
    await job.end()
    for i, subscription in enumerate(opened):
        assert seqs(await all_frames(subscription)) == list(range(i % 10 + 1, 12))
    assert calls < 50


# --- what the reader wishes, and how fast it is ----------------------------------------------------


async def test_a_filter_hides_whole_pages_without_holding_up_what_follows(hub: Hub, joblog: JobLog) -> None:
    """A reader that wants no progress gets the log line behind 1,200 events of it at once."""
    job = await PlayedJob.running(joblog)
    epoch = (await joblog.read(job.id)).cursor.epoch
    for i in range(1200):
        await job.progress(i)
    await job.log("here")
    subscription = await subscribe(hub, job.id, f"{epoch}-1", Wishes(kinds=frozenset({"log"})))
    with closing(subscription):
        assert kinds(await next_frames(subscription)) == ["log"]
    await job.end()
    assert kinds(await frames_of(hub, job.id, f"{epoch}-1", Wishes(kinds=frozenset({"log"})))) == [
        "log",
        "end",
    ]


async def test_an_interval_gathers_progress_and_does_not_hold_back_the_end(hub: Hub, joblog: JobLog) -> None:
    """An hour between deliveries: the snapshot at once, and at the end everything but the superseded progress."""
    job = await PlayedJob.running(joblog)
    subscription = await subscribe(hub, job.id, None, Wishes(min_interval_seconds=3600))
    assert kinds(await next_frames(subscription)) == ["snapshot"]
    waiting = asyncio.create_task(all_frames(subscription))
    for i in range(5):
        await job.progress(i)
    await job.log("kept")
    await job.progress(5)
    await job.end()
    assert kinds(await waiting) == ["log", "progress", "end"]


async def test_an_interval_does_not_hold_back_the_goodbye(hub: Hub, joblog: JobLog) -> None:
    """A process that leaves is not kept waiting by a reader that wants few deliveries."""
    job = await PlayedJob.running(joblog)
    subscription = await subscribe(hub, job.id, None, Wishes(min_interval_seconds=3600))
    await next_frames(subscription)
    await job.progress(1)
    [topic] = hub._topics.values()
    await eventually(lambda: topic.last == 3, "the hub has heard of the progress")
    hub.drain()
    assert kinds(await all_frames(subscription)) == ["progress", "reconnect"]


async def test_a_busy_job_does_not_hold_back_the_goodbye(hub: Hub, joblog: JobLog) -> None:
    """What is pending goes out with the goodbye, not before it: the next event would be pending again."""
    job = await PlayedJob.running(joblog)
    subscription = await subscribe(hub, job.id, None)
    await job.log("one")
    hub.drain()
    first = await next_frames(subscription)
    assert kinds(first)[-1] == "reconnect"
    assert subscription.finished


async def test_a_slow_reader_loses_progress_and_nothing_else(hub: Hub, joblog: JobLog) -> None:
    """It falls off the ring and is caught up; the ring stays within its bounds."""
    job = await PlayedJob.running(joblog)
    slow = await subscribe(hub, job.id, None)
    await next_frames(slow)
    for i in range(3 * RING_EVENTS // 4):
        await job.progress(2 * i)
        await job.progress(2 * i + 1)
        await (job.log if i % 2 else lambda text: job.output(0, text))(f"{i}")
    await job.end()
    [topic] = hub._topics.values()
    await eventually(lambda: topic.done, "the hub has heard the end")
    assert len(topic._ring) <= RING_EVENTS
    frames = await all_frames(slow)
    kept = [value(frame) for frame in frames if frame.kind in ("log", "output")]
    assert [event.get("message") or event["data"] for event in kept] == [
        str(i) for i in range(3 * RING_EVENTS // 4)
    ]
    assert seqs(frames) == sorted(set(seqs(frames)))
    assert kinds(frames).count("progress") < 20
    assert frames[-1].is_end


def test_a_topic_holds_so_many_events_and_so_many_bytes() -> None:
    """One more pushes the oldest out; one event is held however large it is."""
    topic = Topic("job")
    topic.start(Cursor("e", 0), done=False)
    for seq in range(1, 2 * RING_EVENTS):
        topic.hear(Cursor("e", seq), "log", b"{}")
    assert len(topic._ring) == RING_EVENTS
    assert topic.after(topic.floor - 1) is None
    for seq in range(2 * RING_EVENTS, 2 * RING_EVENTS + 9):
        topic.hear(Cursor("e", seq), "log", b"x" * (RING_BYTES // 2))
    assert len(topic._ring) == 1
    topic.hear(Cursor("e", topic.last + 1), "log", b"x" * (2 * RING_BYTES))
    assert len(topic._ring) == 1
    assert topic.after(topic.last - 1) is not None


async def test_a_megabyte_is_announced_and_read(hub: Hub, joblog: JobLog) -> None:
    """Events too large to be pushed reach readers whole and in their place; a page of them is bounded."""
    job = await PlayedJob.running(joblog)
    epoch = (await joblog.read(job.id)).cursor.epoch
    subscription = await subscribe(hub, job.id, None)
    for i in range(5):
        await job.log(f"{i}" * 1_000_000)
        await job.log("small")
    await job.end()
    frames = await all_frames(subscription)
    assert_whole(frames)
    assert [len(value(f)["message"]) for f in frames if f.kind == "log"] == [1_000_000, 5] * 5
    page = await joblog.read(job.id, Cursor(epoch, 1))
    assert page.more
    assert sum(len(entry.data) for entry in page.entries) < 3_000_000
