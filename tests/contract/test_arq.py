"""What Milepost relies on inside arq, which is frozen at 0.28: a release that changes it must be noticed here."""

from __future__ import annotations

import asyncio
import inspect
import json
from collections.abc import AsyncIterator
from importlib.metadata import version
from typing import Any

import arq.constants
import pytest
from arq.connections import ArqRedis
from arq.worker import Retry, Worker, func
from milepost_worker.arqjson import dump, load
from milepost_worker.picker import Picker, QueueWorker
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
        (Worker.run_job, ["self", "job_id", "score"]),
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
        "job_timeout",
        "keep_result",
        "max_tries",
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

    def __init__(self, redis: Redis, pool: ArqRedis) -> None:
        self.log = JobLog(redis)
        self.ran: list[tuple[str, str]] = []
        self.go = asyncio.Event()
        self.error: Exception | None = None
        self.finished = 0
        self.worker = QueueWorker("default", pool, self.run)

    async def run(self, ctx: dict[str, Any], job_id: str) -> None:
        self.ran.append((ctx["job_id"], job_id))
        await self.go.wait()
        if self.error is not None:
            raise self.error

    def note(self) -> None:
        self.finished += 1

    async def take(self) -> list[str]:
        """Take what is due and have arq run it."""
        taken, _ = await self.log.take("default", "worker", 10, cover_seconds=10)
        for delivery in taken:
            self.worker.start(delivery, self.note)
        return taken

    async def finish(self) -> None:
        self.go.set()
        if self.worker.tasks:
            await asyncio.wait(self.worker.tasks.values())


@pytest.fixture
async def bench(redis: Redis, redis_server: RedisServer) -> AsyncIterator[Bench]:
    pool = ArqRedis(
        pool_or_conn=connect(redis_server.url).connection_pool, job_serializer=dump, job_deserializer=load
    )
    bench = Bench(redis, pool)
    yield bench
    await bench.finish()
    await pool.connection_pool.disconnect()


async def create(bench: Bench, job_id: str) -> None:
    assert await bench.log.create(NewJob(id=job_id, task="t", created_at="2026-01-01T00:00:00Z"))


async def test_a_delivery_that_the_scripts_wrote_is_one_of_arqs(redis: Redis, bench: Bench) -> None:
    """It is called with the job's id, and leaves nothing behind."""
    await create(bench, "job")
    assert await bench.take() == ["job.1"]
    await eventually(lambda: bench.ran, "the delivery runs")
    assert bench.ran == [("job.1", "job")]
    assert len(bench.worker.running) == 1
    assert 0 < await redis.pttl("arq:in-progress:job.1") <= 10_000
    await bench.finish()
    assert (bench.finished, bench.worker.running) == (1, [])
    assert [key async for key in redis.scan_iter("arq:*")] == []
    assert await redis.zcard("mp:queue:default") == 0


async def test_what_one_worker_has_taken_no_other_is_given(redis: Redis, bench: Bench) -> None:
    """Until the cover ends; the same worker may ask again, when the answer was lost."""
    await create(bench, "job")
    assert await bench.take() == ["job.1"]
    assert await bench.log.take("default", "other", 10, cover_seconds=10) == ([], None)
    assert await bench.log.take("default", "worker", 10, cover_seconds=10) == (["job.1"], None)


async def test_a_retry_of_arqs_gives_the_delivery_to_another(redis: Redis, bench: Bench) -> None:
    """It keeps its place; a worker in a hurry leaves it so."""
    await create(bench, "job")
    bench.error = Retry(defer=0)
    await bench.take()
    await bench.finish()
    assert await redis.exists("arq:job:job.1") == 1
    assert await bench.log.take("default", "other", 10, cover_seconds=10) == (["job.1"], None)


async def test_an_error_of_ours_ends_the_delivery_and_not_the_worker(redis: Redis, bench: Bench) -> None:
    """arq would stop the worker; here the next look forgets it."""
    await create(bench, "job")
    bench.error = RuntimeError("a bug")
    await bench.take()
    await bench.finish()
    bench.worker.reap()
    assert bench.worker.tasks == {}
    assert await redis.zcard("mp:queue:default") == 0


async def test_a_claimed_delivery_is_left_alone_at_its_end(redis: Redis, bench: Bench) -> None:
    """The claim has removed it, and a round trip for each job is worth saving."""
    await create(bench, "job")
    await bench.take()
    bench.worker.claimed.add("job.1")
    await bench.finish()
    assert await redis.exists("arq:job:job.1") == 1
    assert bench.worker.claimed == set()


async def test_a_slot_is_used_while_the_claim_of_another_delivery_is_under_way(
    redis: Redis, bench: Bench
) -> None:
    """What this worker has taken and not yet claimed is still in the queue, before the next one."""
    picker = Picker(
        bench.worker.pool, bench.log, "worker", ["default"], concurrency=2, poll_seconds=0.5, run=bench.run
    )
    for number in (1, 2, 3):
        await create(bench, f"job-{number}")
        await picker._pick_all()
    await eventually(lambda: len(bench.ran) == 2, "two run")
    assert [job_id for _, job_id in bench.ran] == ["job-1", "job-2"]
    assert picker.free == 0
    bench.go.set()
    await picker.idle()


def test_payloads_are_json_both_ways() -> None:
    """Whoever can write to Redis must not be able to run code in a worker."""
    payload: dict[str, Any] = {"t": None, "f": "attempt", "a": ["job"], "k": {}, "et": 1}
    assert load(dump(payload)) == payload
    assert json.loads(dump({"r": ValueError("no JSON")})) == {"r": "no JSON"}
