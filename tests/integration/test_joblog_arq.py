"""Deliveries stand under arq's own keys, written by our scripts: arq reads them as if it had written them."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from arq import constants
from arq.connections import ArqRedis
from arq.jobs import Job, JobStatus, deserialize_job
from milepost_worker import arqjson
from redis.asyncio import Redis

from milepost.job import Status
from milepost.log import JobLog
from milepost.log.keys import queue_key, wake_channel
from tests.support.joblog import BROKEN, HALF, claimed, created, delivery_of, heard, said, waiting_deliveries
from tests.support.redis import RedisServer, every_redis

pytestmark = every_redis


@pytest.fixture
def log(redis: Redis) -> JobLog:
    return JobLog(redis)


async def arq_keys(redis: Redis) -> list[str]:
    return sorted([key.decode() async for key in redis.scan_iter("arq:*")])


async def test_arq_reads_a_delivery(log: JobLog, redis: Redis, redis_server: RedisServer) -> None:
    """Its function, its one argument (the job id), when it was enqueued, and that it waits."""
    new = await created(log, queue="slow", params='{"secret":1}')
    delivery = f"{new.id}.{await delivery_of(redis, new.id)}"
    raw = await redis.get(constants.job_key_prefix + delivery)
    read = deserialize_job(raw, deserializer=arqjson.load)
    assert (read.function, list(read.args), read.kwargs) == ("attempt", [new.id], {})
    assert not read.job_try  # arq counts its own tries; ours are in the log
    assert abs((datetime.now(UTC) - read.enqueue_time).total_seconds()) < 3600
    async with ArqRedis.from_url(redis_server.url) as pool:
        job = Job(delivery, pool, _queue_name=queue_key("slow"), _deserializer=arqjson.load)
        assert await job.status() in {JobStatus.queued, JobStatus.deferred}
        info = await job.info()
        assert info is not None
        assert info.function == "attempt"


async def test_the_keys_are_those_of_the_installed_arq(log: JobLog, redis: Redis) -> None:
    """arq's prefix is part of our scripts; a release that renames it must be noticed here."""
    assert constants.job_key_prefix == "arq:job:"
    new = await created(log)
    assert await arq_keys(redis) == [f"{constants.job_key_prefix}{new.id}.1"]
    assert await waiting_deliveries(redis) == [f"{new.id}.1"]


@pytest.mark.parametrize("way", ["cancel", "claim", "claim and end", "claim and cancel"])
async def test_a_delivery_that_was_taken_back_leaves_nothing(log: JobLog, redis: Redis, way: str) -> None:
    """Neither arq's payload nor a place in the queue."""
    new = await created(log)
    if "claim" in way:
        reports = log.reports(await claimed(log, redis, new.id))
        if "end" in way:
            await said(log, reports.end(Status.SUCCEEDED, HALF))
    if "cancel" in way:
        await log.cancel(new.id)
    assert await arq_keys(redis) == []
    assert await waiting_deliveries(redis) == []


async def test_what_a_lost_worker_does_to_its_delivery_cannot_touch_the_next(
    log: JobLog, redis: Redis
) -> None:
    """Every delivery has an id of its own."""
    new = await created(log, max_attempts=3)
    for attempt in (1, 2, 3):
        assert await waiting_deliveries(redis) == [f"{new.id}.{attempt}"]
        reports = log.reports(await claimed(log, redis, new.id))
        if attempt < 3:
            await said(log, reports.retry(BROKEN, 0))


async def test_priority_comes_before_age(log: JobLog, redis: Redis) -> None:
    """Higher first; among equals the older first; everything that is due comes before what is not."""
    jobs = {p: await created(log, priority=p) for p in (0, 5, -5, 9, -9)}
    later = await created(log, priority=9, delay_ms=60_000)
    ids = [jobs[p].id for p in (9, 5, 0, -5, -9)] + [later.id]
    assert await waiting_deliveries(redis) == [f"{job_id}.1" for job_id in ids]


async def test_a_delayed_job_is_due_when_it_says(log: JobLog, redis: Redis) -> None:
    """arq leaves it in the queue until the score is reached; `run_at` is the same moment."""
    due_ms = 4_102_444_800_000
    new = await created(log, due_ms=due_ms)
    job = (await log.read(new.id)).job
    assert (job.status, job.run_at) == (Status.SCHEDULED, "2100-01-01T00:00:00.000Z")
    assert await redis.zscore(queue_key("default"), f"{new.id}.1") == due_ms
    past = await created(log, due_ms=1000)
    assert (await log.read(past.id)).job.status == Status.QUEUED


async def test_idle_workers_of_the_queue_are_woken(log: JobLog, redis: Redis) -> None:
    """At every delivery, with the wait in ms; other queues sleep on."""
    async with redis.pubsub() as pubsub:
        await pubsub.subscribe(wake_channel("fast"))
        await created(log, queue="slow")
        new = await created(log, queue="fast")
        await created(log, queue="fast", delay_ms=60_000)
        await said(log, log.reports(await claimed(log, redis, new.id)).release())
        waits = [message["data"] for message in (await heard(pubsub, 4))[1:]]
    assert waits == [b"0", b"60000", b"0"]


async def test_a_delivery_that_arq_lost_is_made_again(log: JobLog, redis: Redis) -> None:
    """Its payload expired or its place in the queue is gone: either way a new delivery, once."""
    new = await created(log)
    assert await log.redeliver(new.id) == "there"
    await redis.delete(f"{constants.job_key_prefix}{new.id}.1")
    assert await log.redeliver(new.id) == "delivered"
    await redis.zrem(queue_key("default"), f"{new.id}.2")
    assert await log.redeliver(new.id) == "delivered"
    assert await waiting_deliveries(redis) == [f"{new.id}.3"]
    assert (await claimed(log, redis, new.id)).attempt == 1


async def test_a_delayed_job_stays_delayed_when_it_is_delivered_again(log: JobLog, redis: Redis) -> None:
    """Losing a delivery must not run a job early."""
    due_ms = 4_102_444_800_000
    new = await created(log, due_ms=due_ms)
    await redis.zrem(queue_key("default"), f"{new.id}.1")
    assert await log.redeliver(new.id) == "delivered"
    assert await redis.zscore(queue_key("default"), f"{new.id}.2") == due_ms
