"""What Milepost relies on inside arq, which is frozen at 0.28: a release that changes it must be noticed here."""

from __future__ import annotations

import asyncio
import inspect
import json
from importlib.metadata import version
from typing import Any

import arq.constants
import pytest
from arq.connections import ArqRedis
from arq.worker import Retry, Worker, func
from milepost_worker.arqjson import dump, load
from milepost_worker.picker import READ_LIMIT, QueueWorker, Slots
from redis.asyncio import Redis

from milepost.log import JobLog, NewJob
from milepost.redis import connect
from tests.support.redis import RedisServer
from tests.support.wait import eventually


def test_the_version_is_the_one_that_was_read() -> None:
    """Names that the subclass overrides are private; only this version is known to have them."""
    assert version("arq").rsplit(".", 1)[0] == "0.28"


def test_the_keys_are_those_that_the_scripts_write() -> None:
    """`deliver` and `withdraw` in common.lua write them without arq."""
    assert arq.constants.job_key_prefix == "arq:job:"
    assert arq.constants.in_progress_key_prefix == "arq:in-progress:"
    assert arq.constants.retry_key_prefix == "arq:retry:"


@pytest.mark.parametrize(
    ("method", "parameters"),
    [
        (Worker.start_jobs, ["self", "job_ids"]),
        (Worker.run_job, ["self", "job_id", "score"]),
        (Worker._release_sem_dec_counter_on_complete, ["self"]),
        (
            Worker.finish_job,
            [
                "self",
                "job_id",
                "finish",
                "result_data",
                "result_timeout_s",
                "keep_result_forever",
                "incr_score",
                "keep_in_progress",
            ],
        ),
        (Worker.finish_failed_job, ["self", "job_id", "result_data"]),
    ],
)
def test_the_methods_that_are_used_and_replaced_are_there(method: Any, parameters: list[str]) -> None:
    """With the parameters they had."""
    assert list(inspect.signature(method).parameters) == parameters


def test_the_options_are_there() -> None:
    """Of the worker, of a function, of a retry."""
    assert set(inspect.signature(Worker.__init__).parameters) >= {
        "functions",
        "queue_name",
        "redis_pool",
        "handle_signals",
        "max_jobs",
        "job_timeout",
        "keep_result",
        "max_tries",
        "queue_read_limit",
        "job_serializer",
        "job_deserializer",
        "log_results",
    }
    assert set(inspect.signature(func).parameters) >= {
        "coroutine",
        "name",
        "timeout",
        "max_tries",
        "keep_result",
    }
    assert Retry(defer=1.5).defer_score == 1500
    assert Retry(defer=0).defer_score == 0  # the delivery keeps its place


class Bench:
    """A queue worker in this process whose deliveries are noted."""

    def __init__(self, pool: ArqRedis, limit: int = 2) -> None:
        self.ran: list[tuple[str, str]] = []
        self.go = asyncio.Event()
        self.error: Exception | None = None
        self.woken = 0
        self.slots = Slots(limit)
        self.worker = QueueWorker("default", pool, self.slots, self.run, self.wake)

    async def run(self, ctx: dict[str, Any], job_id: str) -> None:
        self.ran.append((ctx["job_id"], job_id))
        await self.go.wait()
        if self.error is not None:
            raise self.error

    def wake(self) -> None:
        self.woken += 1

    async def finish(self) -> None:
        self.go.set()
        await asyncio.wait(self.worker.tasks.values())


@pytest.fixture
async def bench(redis_server: RedisServer) -> Any:
    pool = ArqRedis(
        pool_or_conn=connect(redis_server.url).connection_pool, job_serializer=dump, job_deserializer=load
    )
    bench = Bench(pool)
    yield bench
    if bench.worker.tasks:
        await bench.finish()
    await pool.connection_pool.disconnect()


async def create(redis: Redis, job_id: str, **options: Any) -> None:
    assert await JobLog(redis).create(
        NewJob(id=job_id, task="t", created_at="2026-01-01T00:00:00Z", **options)
    )


async def test_a_delivery_that_the_scripts_wrote_is_one_of_arqs(redis: Redis, bench: Bench) -> None:
    """It is picked up, called with the job's id, and leaves nothing behind."""
    await create(redis, "job")
    assert await bench.worker.pick(0.5) > 0
    await eventually(lambda: bench.ran, "the delivery runs")
    assert bench.ran == [("job.1", "job")]
    assert bench.slots.free == 1
    assert await redis.pttl("arq:in-progress:job.1") <= 10_000
    await bench.finish()
    assert bench.woken == 1
    assert bench.slots.free == 2
    assert [key async for key in redis.scan_iter("arq:*")] == []
    assert await redis.zcard("mp:queue:default") == 0


async def test_no_more_is_picked_than_there_are_slots_and_nothing_twice(redis: Redis, bench: Bench) -> None:
    """Of all queues together, however often one looks."""
    for n in range(5):
        await create(redis, f"job-{n}")
    other = QueueWorker("default", bench.worker.pool, bench.slots, bench.run, bench.wake)
    for worker in (bench.worker, other, bench.worker):
        await worker.pick(0.5)
    assert bench.slots.taken == 2
    assert bench.slots.free == 0
    assert other.tasks == {}


async def test_the_picker_is_told_when_the_next_delivery_is_due(redis: Redis, bench: Bench) -> None:
    """So that it can wait for exactly so long; what is later than its next look is found then."""
    await create(redis, "later", delay_ms=60_000)
    assert await bench.worker.pick(0.5) == pytest.approx(0.5, abs=0.2)
    await create(redis, "soon", delay_ms=5_000)
    assert 3 < await bench.worker.pick(20) <= 5
    assert bench.worker.tasks == {}


async def test_a_retry_keeps_the_delivery_for_later(redis: Redis, bench: Bench) -> None:
    """Its place in the queue moves by the delay, and the next look finds it free."""
    await create(redis, "job")
    bench.error = Retry(defer=30)
    await bench.worker.pick(0.5)
    await bench.finish()
    assert await redis.exists("arq:job:job.1") == 1
    assert await redis.exists("arq:in-progress:job.1") == 0
    seconds, _ = await redis.time()
    score = await redis.zscore("mp:queue:default", "job.1")
    assert score is not None
    assert 25_000 < score - seconds * 1000 < 35_000


async def test_an_error_of_ours_ends_the_delivery_and_not_the_worker(redis: Redis, bench: Bench) -> None:
    """arq would stop the worker; here the next look forgets it."""
    await create(redis, "job")
    bench.error = RuntimeError("a bug")
    await bench.worker.pick(0.5)
    await bench.finish()
    bench.worker.reap()
    assert bench.worker.tasks == {}
    assert await redis.zcard("mp:queue:default") == 0


async def test_a_pick_up_that_fails_in_its_midst_costs_no_slot(redis: Redis, bench: Bench) -> None:
    """arq counts up before it asks Redis, and not down when that raises."""
    for n in range(20):
        await create(redis, f"job-{n}")
    await redis.rename("mp:queue:default", "aside")
    await redis.set("mp:queue:default", "not a sorted set")
    for _ in range(20):
        with pytest.raises(Exception, match="WRONGTYPE"):
            await bench.worker.start_jobs([b"job-0.1"])
    assert bench.slots.free == 2
    await redis.rename("aside", "mp:queue:default")
    await bench.worker.pick(0.5)
    assert bench.slots.taken == 2


def test_payloads_are_json_both_ways() -> None:
    """Whoever can write to Redis must not be able to run code in a worker."""
    payload: dict[str, Any] = {"t": None, "f": "attempt", "a": ["job"], "k": {}, "et": 1}
    assert load(dump(payload)) == payload
    assert json.loads(dump({"r": ValueError("no JSON")})) == {"r": "no JSON"}
    assert READ_LIMIT >= 100
