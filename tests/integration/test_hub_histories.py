"""The hub when a job's history is another one than its readers know."""

from __future__ import annotations

import asyncio
import random
import signal
from contextlib import closing
from pathlib import Path

import pytest
from milepost_api.hub import Recalled, Times
from redis.asyncio import Redis

from milepost.codec import Cursor
from milepost.errors import JobNotFound, StoreUnavailable
from milepost.job import Job, Status
from milepost.log import JobLog, NewJob, View, live_channel, many
from milepost.log.keys import events_key, state_key
from milepost.redis import connect
from tests.support.hub import (
    PATIENT,
    Records,
    all_frames,
    assert_whole,
    frames_of,
    happen_unheard,
    hub_on,
    kinds,
    next_frames,
    subscribe,
    value,
)
from tests.support.joblog import HALF, claimed, created, said
from tests.support.jobs import AT, PlayedJob
from tests.support.redis import RedisServer
from tests.support.wait import DEADLINE_SECONDS, eventually

BRISK = Times(reconcile=0.2, linger=0.05, answer=DEADLINE_SECONDS)


async def test_a_history_that_begins_anew_is_a_gap_for_all(redis_server: RedisServer, redis: Redis) -> None:
    """Redis lost the job and it was brought back: who watches, who resumes and who comes late see one history."""
    joblog = JobLog(redis)
    async with hub_on(redis_server.url, joblog) as hub:
        old = await PlayedJob.running(joblog)
        for i in range(9):
            await old.log(str(i))
        cursor = (await joblog.read(old.id)).cursor
        watching = await subscribe(hub, old.id, None)
        await next_frames(watching)
        await redis.delete(state_key(old.id), events_key(old.id))
        new = await PlayedJob.running(joblog, old.id)
        resumed = await subscribe(hub, old.id, str(cursor))
        fresh = await subscribe(hub, old.id, None)
        await new.log("new")
        await new.end()
        epoch = (await joblog.read(old.id)).cursor.epoch
        assert epoch != cursor.epoch
        for subscription, first in ((watching, "gap"), (resumed, "gap"), (fresh, "snapshot")):
            frames = await all_frames(subscription)
            assert kinds(frames)[0] == first
            assert kinds(frames).count("gap") == (first == "gap")
            assert_whole([frame for frame in frames if frame.kind != "gap"])
            assert {value(frame)["cursor"].split("-")[0] for frame in frames if frame.seq} == {epoch}


async def test_a_reader_that_sees_a_new_history_before_its_topic_does_gets_only_that(
    redis_server: RedisServer, redis: Redis
) -> None:
    """The topic still holds events of the old one, with numbers that would fit."""
    joblog = JobLog(redis)
    async with hub_on(redis_server.url, joblog, times=PATIENT) as hub:
        job = await PlayedJob.running(joblog)
        watching = await subscribe(hub, job.id, None)
        for i in range(3):
            await job.log(f"old {i}")
        [topic] = hub._topics.values()
        await eventually(lambda: topic.last == 5, "the hub has heard the old events")
        async with redis.pipeline() as pipe:
            pipe.delete(events_key(job.id))
            pipe.hset(state_key(job.id), mapping={"epoch": "newepoch", "seq": 1})
            await pipe.execute()
        await happen_unheard(redis, job, 2, "log")
        fresh = await subscribe(hub, job.id, None)
        await job.log("new")
        await job.end()
        frames = await all_frames(fresh)
        assert_whole(frames)
        assert {value(frame)["cursor"].split("-")[0] for frame in frames} == {"newepoch"}
        old = await all_frames(watching)
        assert_whole(old[kinds(old).index("gap") + 1 :])


async def test_the_epoch_of_a_snapshot_and_of_what_follows_is_one(
    redis_server: RedisServer, redis: Redis
) -> None:
    """100 streams open at every moment of a change of history, and none mixes the two."""
    joblog, chance = JobLog(redis), random.Random(3)
    async with hub_on(redis_server.url, joblog) as hub:
        for _ in range(10):
            old = await PlayedJob.running(joblog)
            keep = await subscribe(hub, old.id, None)

            async def stream(job_id: str) -> None:
                await asyncio.sleep(chance.uniform(0, 0.01))
                try:
                    frames = await frames_of(hub, job_id)
                except (JobNotFound, StoreUnavailable):
                    return  # for a moment there is no such job
                after_gap = frames[
                    max((i for i, f in enumerate(frames) if f.kind == "gap"), default=-1) + 1 :
                ]
                if frames[-1].kind != "reconnect":
                    assert_whole(after_gap)
                    assert len({value(frame)["cursor"].split("-")[0] for frame in after_gap}) == 1

            async def change(job: PlayedJob) -> None:
                for i in range(4):
                    await job.log(str(i))
                await redis.delete(state_key(job.id), events_key(job.id))
                new = await PlayedJob.running(joblog, job.id)
                for i in range(4):
                    await new.log(str(i))
                await new.end()

            await asyncio.gather(change(old), *(stream(old.id) for _ in range(10)))
            keep.close()


async def test_a_history_that_went_back_is_a_gap(redis_server: RedisServer, redis: Redis) -> None:
    """Redis came back without the last events: readers that saw them start again, and miss nothing that follows."""
    joblog = JobLog(redis)
    async with hub_on(redis_server.url, joblog, times=BRISK) as hub:
        job = await PlayedJob.running(joblog)
        before = await redis.dump(state_key(job.id)), await redis.dump(events_key(job.id))
        subscription = await subscribe(hub, job.id, None)
        for i in range(5):
            await job.log(str(i))
        [topic] = hub._topics.values()
        await eventually(lambda: topic.last == 7, "the hub has heard all")
        for key, dump in zip((state_key(job.id), events_key(job.id)), before, strict=True):
            await redis.restore(key, 0, dump, replace=True)
        await eventually(lambda: topic.generation == 1, "the hub has noticed")
        await job.log("another sixth")  # the log begins a new epoch: reports are missing
        await job.end()
        frames = await all_frames(subscription)
        assert_whole(frames[max(i for i, f in enumerate(frames) if f.kind == "gap") + 1 :])


async def test_a_job_that_redis_lost_and_sql_has_ends_for_who_watches(
    redis_server: RedisServer, joblog: JobLog, redis: Redis
) -> None:
    """The recorder had its end: a gap, what SQL knows, the end."""
    job = await PlayedJob.running(joblog)
    ended = Job(id=job.id, task="played", status=Status.SUCCEEDED, done=True, version=9)
    records = Records()
    async with hub_on(redis_server.url, joblog, records, BRISK) as hub:
        subscription = await subscribe(hub, job.id, None)
        await next_frames(subscription)
        await redis.delete(state_key(job.id), events_key(job.id))
        records.known[job.id] = Recalled(ended, Cursor("abcd1234", 9))
        assert kinds(await all_frames(subscription)) == ["gap", "snapshot", "end"]


async def test_a_job_that_is_on_its_way_back_is_no_unknown_job(
    redis_server: RedisServer, joblog: JobLog
) -> None:
    """404 would close an EventSource for good; the reader is asked to come again, and nothing is left open."""
    job = Job(id="1", task="played", status=Status.RUNNING, version=0)
    async with hub_on(redis_server.url, joblog, Records(Recalled(job, Cursor("0", 0))), BRISK) as hub:
        with pytest.raises(StoreUnavailable):
            await subscribe(hub, "1", None)
        with pytest.raises(JobNotFound):
            await subscribe(hub, "2", None)
        await eventually(lambda: hub.topics == 0, "no topic is left")


async def test_a_stream_whose_job_vanishes_says_goodbye(
    redis_server: RedisServer, joblog: JobLog, redis: Redis
) -> None:
    """The history is begun anew and lost again while a reader starts over: it is asked to come back."""
    job = await PlayedJob.running(joblog)
    async with hub_on(redis_server.url, joblog) as hub:
        subscription = await subscribe(hub, job.id, None)
        await next_frames(subscription)
        [topic] = hub._topics.values()
        await redis.delete(state_key(job.id), events_key(job.id))
        topic.start(Cursor("zzzzzzzz", 1), done=False)
        assert kinds(await all_frames(subscription)) == ["reconnect"]


async def test_readers_that_missed_the_end_of_a_job_hear_that_it_was_deleted(
    redis_server: RedisServer, joblog: JobLog, redis: Redis
) -> None:
    """At once, without anybody looking again; and a later job of the same id has nothing to do with it."""
    job = await PlayedJob.running(joblog)
    async with hub_on(redis_server.url, joblog) as hub:
        with closing(await subscribe(hub, job.id)) as one, closing(await subscribe(hub, job.id)) as other:
            await next_frames(one)
            await next_frames(other)
            await happen_unheard(redis, job, 3, "end", status="succeeded")
            assert await many.forget(joblog, {job.id: AT}) == ["forgotten"]
            for reader in (one, other):
                [last] = await all_frames(reader)
                assert (last.kind, value(last)["reason"]) == ("reconnect", "deleted")
        with pytest.raises(JobNotFound):
            await subscribe(hub, job.id)
        await joblog.create(NewJob(id=job.id, task="played", created_at="2026-11-21T03:30:00.001Z"))
        with closing(await subscribe(hub, job.id)) as later:
            assert kinds(await next_frames(later)) == ["snapshot"]


async def test_a_job_that_is_watched_and_lost_is_no_unknown_job(
    redis_server: RedisServer, joblog: JobLog, redis: Redis
) -> None:
    """Its topic is there from other readers, and Redis has forgotten the job a moment ago: 404 would be wrong."""
    job = await PlayedJob.running(joblog)
    running = Job(id=job.id, task="played", status=Status.RUNNING, version=2)
    records = Records(Recalled(running, Cursor("abcd1234", 2)))
    async with hub_on(redis_server.url, joblog, records, PATIENT) as hub:
        first = await subscribe(hub, job.id, None)
        await next_frames(first)
        await redis.delete(state_key(job.id), events_key(job.id))
        with pytest.raises(StoreUnavailable):
            await subscribe(hub, job.id, None)
        ended = Job(id=job.id, task="played", status=Status.SUCCEEDED, done=True, version=9)
        records.known[job.id] = Recalled(ended, Cursor("abcd1234", 9))
        assert kinds(await frames_of(hub, job.id)) == ["snapshot", "end"]
        first.close()


async def test_readers_of_what_redis_lost_are_told_whatever_follows(tmp_path: Path) -> None:
    """It comes back without a claim and its reports; another worker gets as far. Numbers alone would look right."""
    with RedisServer(tmp_path / "redis", appendonly=False) as server:
        redis = connect(server.url)
        joblog = JobLog(redis)
        async with hub_on(server.url, joblog, times=BRISK) as hub:
            job = await created(joblog)
            await redis.save()
            first = joblog.reports(await claimed(joblog, redis, job.id, "w1"))
            await said(joblog, *(first.log("info", f"lost {n}", None) for n in range(3)))
            watching = await subscribe(hub, job.id, None)
            assert kinds(await next_frames(watching)) == ["snapshot"]
            seen = (await joblog.read(job.id)).cursor
            server.restart(signal.SIGKILL)
            second = joblog.reports(await claimed(joblog, redis, job.id, "w2"))
            await said(joblog, *(second.log("info", f"kept {n}", None) for n in range(5)))
            await said(joblog, second.end(Status.SUCCEEDED, HALF))
            frames = await all_frames(watching)
            told = kinds(frames)
            assert told[:2] == ["gap", "snapshot"]
            assert told[-1] == "end"
            assert b"lost" not in b"".join(frame.data for frame in frames)
            assert kinds(await frames_of(hub, job.id, str(seen))) == ["gap", "snapshot", "end"]
        await redis.aclose()


async def test_what_an_old_master_still_says_is_not_taken_for_the_new_history(
    redis_server: RedisServer, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It comes while the branch is being read, and has the number of an event of the branch: readers hear of both."""
    joblog = JobLog(redis)
    async with hub_on(redis_server.url, joblog, times=PATIENT) as hub:
        job = await PlayedJob.running(joblog)
        subscription = await subscribe(hub, job.id, None)
        await next_frames(subscription)
        old = (await joblog.read(job.id)).cursor
        reads = 0

        async def read(job_id: str, after: Cursor | None = None) -> View:
            nonlocal reads
            reads += 1
            view = await joblog.read(job_id, after)
            if reads == 1:
                late = f"{old.epoch}-{old.seq + 1} log {{}}"
                hub._heard(live_channel(job.id).encode(), late.encode())
            return view

        monkeypatch.setattr(hub._reads, "read", read)
        await redis.script_flush()  # the next event is of another generation
        await job.log("of the branch")
        await job.end()
        frames = await all_frames(subscription)
        assert "gap" in kinds(frames)
        assert_whole(frames[kinds(frames).index("gap") + 1 :])


async def test_a_reader_that_comes_back_before_its_topic_knows_of_a_branch_goes_on(
    redis_server: RedisServer, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its cursor is good. That this process has not heard of the branch yet is no reason for a gap."""
    joblog = JobLog(redis)
    async with hub_on(redis_server.url, joblog, times=PATIENT) as hub:
        job = await PlayedJob.running(joblog)
        with closing(await subscribe(hub, job.id, None)):
            epoch = (await joblog.read(job.id)).cursor.epoch
            with monkeypatch.context() as deaf:
                deaf.setattr(hub._reader, "_heard", lambda *_: None)
                await redis.script_flush()  # the next event is of another generation
                await job.log("of the branch")
                await job.end()
                async with asyncio.timeout(10):
                    frames = await frames_of(hub, job.id, f"{epoch}-1")  # older than what the topic holds
        assert kinds(frames) == ["status", "log", "end"]
