"""The picker on a real Redis: which jobs this worker has, whatever becomes of the answers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any, cast

import pytest
from arq.connections import ArqRedis
from milepost_worker.arqjson import dump, load
from milepost_worker.picker import LAST_CHANCES, Picker
from milepost_worker.room import Room
from redis.asyncio import Redis
from redis.exceptions import ConnectionError as RedisConnectionError

from milepost.log import Claim, JobLog, NewJob, Taken
from milepost.log.keys import LEASES
from milepost.redis import connect
from milepost.tasks import Options, Task
from tests.support.redis import RedisServer
from tests.support.wait import eventually

pytestmark = pytest.mark.anyio


class Bench:
    """A picker in this process whose attempts are noted."""

    def __init__(self, redis: Redis, pool: ArqRedis) -> None:
        self.redis, self.log = redis, JobLog(redis)
        self.ran: list[str] = []
        self.now = 1000.0
        self.go = asyncio.Event()
        self.error: Exception | None = None
        self.picker = Picker(
            pool,
            self.log,
            "worker",
            ["default"],
            concurrency=2,
            poll_seconds=0.5,
            lease_seconds=10,
            room=Room({"t": Task(print, "t", Options())}),
            run=self.run,
            clock=lambda: self.now,
        )

    async def pick(self) -> None:
        await self.picker._pick()

    async def run(self, ctx: dict[Any, Any], claim: Claim) -> None:
        self.ran.append(claim.job_id)
        await self.go.wait()
        if self.error is not None:
            raise self.error

    async def finish(self) -> None:
        self.go.set()
        await self.picker.idle()


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


async def test_arqs_worker_runs_what_was_taken(redis: Redis, bench: Bench) -> None:
    """Its function is called with the claim; nothing is left under arq's names, nor in the queue."""
    await create(bench, "job")
    await bench.pick()
    await eventually(lambda: bench.ran, "the attempt runs")
    assert (bench.ran, bench.picker.free) == (["job"], 1)
    assert [key async for key in redis.scan_iter("arq:*")] == []
    assert await redis.zcard("mp:queue:default") == 0
    await bench.finish()
    assert bench.picker.free == 2


async def test_no_more_is_taken_than_there_are_slots(bench: Bench) -> None:
    """The third waits until one is over."""
    for number in (1, 2, 3):
        await create(bench, f"job-{number}")
    await bench.pick()
    await bench.pick()
    await eventually(lambda: len(bench.ran) == 2, "two run")
    assert bench.picker.free == 0
    await bench.finish()
    await bench.pick()
    await bench.finish()
    assert sorted(bench.ran) == ["job-1", "job-2", "job-3"]


def slow(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, seconds: float, error: Exception | None = None
) -> None:
    """Let the next answer come late, or be lost."""
    take = bench.log.take

    async def answer(*args: Any, **given: Any) -> Taken:
        monkeypatch.setattr(bench.log, "take", take)
        taken = await take(*args, **given)
        bench.now += seconds
        if error is not None:
            raise error
        return taken

    monkeypatch.setattr(bench.log, "take", answer)


async def test_an_answer_that_was_lost_is_asked_for_again(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise the job would wait for its lease to lapse, and lose an attempt."""
    await create(bench, "job")
    slow(bench, monkeypatch, 0, RedisConnectionError("reset by peer"))
    await bench.pick()
    assert bench.ran == []
    await bench.pick()
    await bench.finish()
    assert bench.ran == ["job"]


async def test_a_worker_that_leaves_asks_for_the_lost_answer_and_for_nothing_else(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A deploy in the middle of a request costs no attempt."""
    bench.go.set()
    await create(bench, "job")
    slow(bench, monkeypatch, 0, RedisConnectionError("reset by peer"))
    await bench.pick()
    await create(bench, "later")
    bench.picker.drain()
    await bench.picker.run()
    await bench.finish()
    assert bench.ran == ["job"]


async def test_a_worker_in_a_hurry_asks_once_more(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """What it was given it can hand back; its lease would have to lapse otherwise, which costs an attempt."""
    bench.go.set()
    await create(bench, "job")
    slow(bench, monkeypatch, 0, RedisConnectionError("reset by peer"))
    await bench.pick()
    bench.picker.hurry()
    await bench.picker.run()
    await bench.finish()
    assert bench.ran == ["job"]


async def test_a_worker_in_a_hurry_does_not_wait_for_redis(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It could be away for good."""
    asked = 0

    async def away(*_: Any, **__: Any) -> Taken:
        nonlocal asked
        asked += 1
        raise RedisConnectionError("refused")

    monkeypatch.setattr(bench.log, "take", away)
    await bench.pick()
    bench.picker.hurry()
    await bench.picker.run()
    assert asked == 1 + LAST_CHANCES


@pytest.mark.parametrize("held", [True, False])
async def test_an_answer_that_is_read_late_is_checked(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, held: bool
) -> None:
    """The event loop was blocked, or the machine slept: another worker may have the job by now."""
    await create(bench, "job")
    slow(bench, monkeypatch, 6)
    if not held:
        monkeypatch.setattr(bench.log, "renew", lapsed(bench))
    await bench.pick()
    await bench.finish()
    assert bench.ran == (["job"] if held else [])


def lapsed(bench: Bench) -> Any:
    """Renew as a worker does whose lease has been taken away by the caretaker a moment before."""
    renew = bench.log.renew

    async def too_late(claim: Claim, **given: Any) -> bool:
        await cast("Any", bench.redis.zadd(LEASES, {claim.job_id: 1}))
        assert await bench.log.lapse(claim.job_id, lease_seconds=10, silence_seconds=5) == "failed"
        return await renew(claim, **given)

    return too_late


async def test_an_error_of_ours_ends_the_attempt_and_not_the_worker(bench: Bench) -> None:
    """arq would stop the worker."""
    await create(bench, "job")
    bench.error = RuntimeError("a bug")
    await bench.pick()
    await bench.finish()
    assert bench.picker.free == 2


async def test_it_tells_for_which_answer_it_waits(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """From the question until the attempts have begun here; a task may block the event loop in between."""
    take, seen = bench.log.take, list[int | None]()

    async def watched(*args: Any, **given: Any) -> Taken:
        seen.append(bench.picker.awaited)
        return await take(*args, **given)

    monkeypatch.setattr(bench.log, "take", watched)
    await create(bench, "job")
    assert bench.picker.awaited is None
    await bench.pick()
    assert (seen, bench.ran, bench.picker.awaited) == ([1], ["job"], None)


async def test_it_still_waits_when_the_answer_was_lost(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Redis may have begun attempts for it."""

    async def lost(*args: Any, **given: Any) -> Taken:
        raise RedisConnectionError("cut")

    monkeypatch.setattr(bench.log, "take", lost)
    await bench.pick()
    assert bench.picker.awaited == 1
