"""Jobs that are watched while they are created, and beginnings that are kept up to date by what is heard."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace
from typing import Any

import pytest
from milepost_api.hub import Hub
from milepost_api.hub.foreseen import FORESEEN_MOST
from redis.asyncio import Redis

from milepost.codec import dumps
from milepost.errors import JobNotFound
from milepost.ids import new_job_id
from milepost.job import JobError, Progress
from milepost.log import JobLog, NewJob, live_channel
from tests.support.api import COUNT, Hand
from tests.support.hub import PATIENT, hub_on, kinds, next_frames, seqs, subscribe, value
from tests.support.jobs import AT
from tests.support.redis import RedisServer
from tests.support.wait import eventually

SHARING = replace(PATIENT, share=3600, foreseen=3600)


def new_job() -> NewJob:
    return NewJob(id=new_job_id(), task=COUNT.name, max_attempts=3, created_at=AT)


async def evaluated(redis: Redis) -> int:
    return int((await redis.info("commandstats"))["cmdstat_evalsha"]["calls"])


async def created(hub: Hub, joblog: JobLog, job: NewJob) -> None:
    with hub.foresee(job.id) as foreseen:
        await eventually(lambda: foreseen.heard, "it is watched before it is there")
        _, view = await joblog.create_and_read(job)
        foreseen.tell(view)


async def test_a_foreseen_job_is_streamed_without_a_word_to_redis(
    redis_server: RedisServer, joblog: JobLog, redis: Redis
) -> None:
    """Its first reader gets the snapshot that came with its creation, and what was heard since."""
    async with hub_on(redis_server.url, joblog, times=SHARING) as hub:
        early, late = new_job(), new_job()
        for job in (early, late):
            await created(hub, joblog, job)
        before = await evaluated(redis)
        with closing(await subscribe(hub, early.id)) as stream:
            [snapshot] = await next_frames(stream)
            assert (snapshot.seq, value(snapshot)["job"]["status"]) == (1, "queued")
            assert await evaluated(redis) == before
            await Hand(joblog).begin(early.id)
            assert seqs(await next_frames(stream)) == [2]
        await Hand(joblog).begin(late.id)
        await eventually(lambda: topic_of(hub, late.id).last == 2, "the hub has heard of it")
        before = await evaluated(redis)
        with closing(await subscribe(hub, late.id)) as stream:
            [snapshot] = await next_frames(stream)
            assert (snapshot.seq, value(snapshot)["job"]["status"]) == (2, "running")
            assert await evaluated(redis) == before


def topic_of(hub: Hub, job_id: str) -> Any:
    return hub._topics[live_channel(job_id).encode()]


async def test_a_job_that_was_foreseen_and_not_created_is_not_there(
    redis_server: RedisServer, joblog: JobLog
) -> None:
    """Nothing is left of it; when it comes later it is read like any other."""
    async with hub_on(redis_server.url, joblog, times=SHARING) as hub:
        job = new_job()
        with hub.foresee(job.id):
            pass
        await eventually(lambda: hub.topics == 0, "it is forgotten")
        with pytest.raises(JobNotFound):
            await subscribe(hub, job.id)
        await joblog.create(job)
        with closing(await subscribe(hub, job.id)) as stream:
            assert seqs(await next_frames(stream)) == [1]


async def test_what_happened_before_it_was_heard_is_read(redis_server: RedisServer, joblog: JobLog) -> None:
    """Whoever creates it does not wait for the subscription; then its reader does."""
    async with hub_on(redis_server.url, joblog, times=SHARING) as hub:
        job = new_job()
        with hub.foresee(job.id) as foreseen:
            assert not foreseen.heard
            await joblog.create(job)
            await Hand(joblog).begin(job.id)
        with closing(await subscribe(hub, job.id)) as stream:
            assert seqs(await next_frames(stream)) == [2]


async def test_jobs_whose_reader_does_not_come_are_few_and_not_for_long(
    redis_server: RedisServer, joblog: JobLog
) -> None:
    """Who submits a thousand jobs in one go does not follow each; a topic is given up when its time is over."""
    async with hub_on(redis_server.url, joblog, times=SHARING) as hub:
        for _ in range(FORESEEN_MOST + 5):
            await created_or_not(hub, joblog)
        assert hub.topics == FORESEEN_MOST
    async with hub_on(redis_server.url, joblog, times=replace(SHARING, foreseen=0.0)) as hub:
        await created_or_not(hub, joblog)
        await eventually(lambda: hub.topics == 0, "it is given up")


async def created_or_not(hub: Hub, joblog: JobLog) -> None:
    job = new_job()
    with hub.foresee(job.id) as foreseen:
        _, view = await joblog.create_and_read(job)
        foreseen.tell(view)


async def test_a_beginning_that_was_heard_is_the_one_that_would_be_read(
    redis_server: RedisServer, joblog: JobLog
) -> None:
    """After each step of a job's life, a reader of each kind is shown the same job at the same place."""
    async with (
        hub_on(redis_server.url, joblog, times=SHARING) as hears,
        hub_on(redis_server.url, joblog) as reads,
    ):
        job, hand = new_job(), Hand(joblog)
        await joblog.create(job)
        with closing(await subscribe(hears, job.id)) as follower:
            for step in (
                lambda: hand.begin(job.id),
                lambda: hand.say("info", "hello"),
                lambda: hand._call(hand._known.progress(Progress(current=1, total=3, message="one"))),
                lambda: hand._call(hand._known.output(0, {"rows": 1})),
                lambda: hand._call(hand._known.retry(JobError(code="exception", message="no"), 0)),
                lambda: hand.begin(job.id),
                lambda: joblog.cancel(job.id),
                lambda: hand.fail(JobError(code="exception", message="no")),
            ):
                await step()
                with closing(await subscribe(reads, job.id)) as reader:
                    read = await next_frames(reader)
                while follower.seq < read[-1].seq:
                    await next_frames(follower)
                with closing(await subscribe(hears, job.id)) as reader:
                    heard = await next_frames(reader)
                assert kinds(heard) == kinds(read)
                assert shown(heard[0]).items() ^ shown(read[0]).items() == set()


def shown(snapshot: Any) -> dict[str, str]:
    """Return the parts of a snapshot, each as text."""
    told = value(snapshot)
    job = told.pop("job")
    return {name: dumps(part) for name, part in {**job, **told, "at": None}.items()}
