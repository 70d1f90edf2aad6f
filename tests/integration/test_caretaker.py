"""The caretaker: jobs of lost workers go on or end, and a pause of Redis costs nobody an attempt."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import timedelta
from pathlib import Path

import pytest
from milepost_api.caretaker import Caretaker, Leases, Patience, StartDeadlines
from milepost_api.caretaker.patience import LULL_SECONDS
from milepost_api.lookup import Lookup
from milepost_api.records import JobRecord, JobStore, new_job, open_engines, schema
from milepost_api.roster import Roster
from redis.asyncio import Redis

from milepost.background import end
from milepost.log import Catalogue, JobLog, NewJob
from milepost.log.housekeeping import Turn
from milepost.log.keys import GENERATION_SINCE
from milepost.times import utc_now
from tests.support.api import COUNT, Hand
from tests.support.redis import RedisServer
from tests.support.wait import eventually

pytestmark = pytest.mark.anyio
LEASE, SILENCE = 12.0, 6.0


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def patience(clock: Clock) -> Patience:
    return Patience(LEASE, clock)


@pytest.fixture
def leases(joblog: JobLog, patience: Patience) -> Leases:
    return Leases(joblog, patience, lease_seconds=LEASE, silence_seconds=SILENCE)


async def running(joblog: JobLog, job_id: str, *, max_attempts: int, left_ms: int, redis: Redis) -> Hand:
    """Begin a job whose lease ends `left_ms` from now, by Redis's clock (the past if negative)."""
    await joblog.create(
        NewJob(id=job_id, task=COUNT.name, created_at="2026-01-01T00:00:00.000Z", max_attempts=max_attempts)
    )
    hand = Hand(joblog)
    await hand.begin(job_id)
    seconds, micros = await redis.time()
    await redis.zadd("mp:leases", {job_id: seconds * 1000 + micros // 1000 + left_ms})
    return hand


async def status(joblog: JobLog, job_id: str) -> tuple[str, bool]:
    job = (await joblog.read(job_id)).job
    return str(job.status), job.stalled


async def test_lost_leases_are_retried_or_ended_and_silent_ones_are_told(
    joblog: JobLog, redis: Redis, leases: Leases
) -> None:
    """Attempts left: retrying. None left: failed. Silent but within its lease: stalled. Heard: nothing."""
    await running(joblog, "again", max_attempts=2, left_ms=-1000, redis=redis)
    await running(joblog, "over", max_attempts=1, left_ms=-1000, redis=redis)
    await running(joblog, "silent", max_attempts=2, left_ms=3000, redis=redis)
    await running(joblog, "heard", max_attempts=2, left_ms=12_000, redis=redis)

    await leases.round()

    assert await status(joblog, "again") == ("retrying", False)
    assert await status(joblog, "over") == ("failed", False)
    assert await status(joblog, "silent") == ("running", True)
    assert await status(joblog, "heard") == ("running", False)
    error = (await joblog.read("over")).job.error
    assert error is not None
    assert error.code == "worker_lost"


async def test_hundreds_of_lost_leases_are_dealt_with_in_one_round(
    joblog: JobLog, redis: Redis, leases: Leases
) -> None:
    """A whole fleet that dies at once is not mourned at a hundred a second."""
    for number in range(250):
        await running(joblog, f"job{number}", max_attempts=1, left_ms=-1000, redis=redis)
    await leases.round()
    assert await redis.zcard("mp:leases") == 0


class Counting:
    """A chore that counts its rounds, and does what it is told to in the first of them."""

    every_seconds = 0.0

    def __init__(self, name: str, first: Callable[[], Awaitable[None]] | None = None) -> None:
        self.name, self.rounds, self._first = name, 0, first

    async def round(self) -> None:
        self.rounds += 1
        if self._first is not None and self.rounds == 1:
            await self._first()


async def test_one_caretaker_acts_at_a_time_and_a_dead_one_is_replaced(
    redis: Redis, patience: Patience
) -> None:
    """Whoever has the turn keeps it while it renews; when it is gone, the next one takes over."""
    holder = Turn(redis, seconds=60)
    assert await holder.take_or_keep()
    assert await holder.take_or_keep()
    chore = Counting("chore")
    second = Caretaker(redis, [chore], patience)

    await second.look()
    assert not second.acts

    await redis.delete("mp:caretaker")  # what the end of its time does
    running = asyncio.create_task(second.run())
    await eventually(lambda: chore.rounds > 1, "the chores are done")
    assert not await holder.take_or_keep()
    await holder.give_up()
    assert await redis.exists("mp:caretaker")

    await end(running)
    assert not second.acts
    assert await holder.take_or_keep(), "who leaves gives the turn up"


async def test_a_goodbye_that_is_cut_short_is_over(
    redis: Redis, redis_server: RedisServer, patience: Patience
) -> None:
    """While Redis is away whoever leaves is told again to hurry; then nobody uses the client, which is closed next."""
    chore, before = Counting("chore"), asyncio.all_tasks()
    leaving = asyncio.create_task(Caretaker(redis, [chore], patience).run())
    await eventually(lambda: chore.rounds > 1, "the chores are done")
    redis_server.pause()

    await end(leaving)

    assert asyncio.all_tasks() == before


async def test_who_has_lost_the_turn_ends_its_chores(redis: Redis, patience: Patience) -> None:
    """A process that was frozen wakes up and finds another at work."""
    chore = Counting("chore")
    taker = Caretaker(redis, [chore], patience)
    await taker.look()
    await eventually(lambda: chore.rounds > 1, "the chores are done")
    await redis.delete("mp:caretaker")
    assert await Turn(redis, seconds=60).take_or_keep()
    await taker.look()
    assert not taker.acts
    done = chore.rounds
    await asyncio.sleep(0)
    assert chore.rounds == done


async def test_a_chore_that_fails_or_hangs_holds_up_no_other(redis: Redis, patience: Patience) -> None:
    """Each fails alone, and is tried again."""

    async def fail() -> None:
        raise ZeroDivisionError

    async def hang() -> None:
        await asyncio.Event().wait()

    broken, hanging, well = Counting("broken", fail), Counting("hanging", hang), Counting("well")
    running = asyncio.create_task(Caretaker(redis, [broken, hanging, well], patience).run())
    await eventually(lambda: well.rounds > 5 and broken.rounds > 2, "two of them are done again and again")
    assert hanging.rounds == 1
    await end(running)


async def test_a_pause_of_redis_costs_no_attempt(
    joblog: JobLog, redis: Redis, leases: Leases, patience: Patience, clock: Clock
) -> None:
    """After a lull every worker has one whole lease to be heard; who is not heard then is lost."""
    patience.heard()
    await running(joblog, "a", max_attempts=1, left_ms=-1000, redis=redis)

    clock.now += LULL_SECONDS + 10  # nobody could say anything for so long
    await leases.round()  # its own answer is the first that comes
    assert await status(joblog, "a") == ("running", False)

    elapsed = 0.0
    while elapsed < LEASE:
        clock.now += 1
        elapsed += 1
        patience.heard()
        await leases.round()
        assert ((await status(joblog, "a"))[0] == "running") == (elapsed < LEASE)


async def test_a_restart_of_redis_that_nobody_noticed_costs_no_attempt(
    joblog: JobLog, redis: Redis, redis_server: RedisServer, leases: Leases
) -> None:
    """The caretaker's client has repeated its command until Redis was back, and looks before any worker does."""
    hand = await running(joblog, "heard", max_attempts=1, left_ms=-1000, redis=redis)
    await running(joblog, "lost", max_attempts=1, left_ms=-1000, redis=redis)
    redis_server.restart()

    await leases.round()
    assert await status(joblog, "heard") == await status(joblog, "lost") == ("running", False)

    assert await hand.renew(lease_seconds=2 * LEASE)  # what its courier does as soon as it finds Redis again
    await back_since(redis, LEASE)
    await leases.round()
    assert await status(joblog, "heard") == ("running", False)
    assert await status(joblog, "lost") == ("failed", False)


async def test_every_worker_has_a_whole_lease_after_a_restart(
    joblog: JobLog, redis: Redis, redis_server: RedisServer, leases: Leases
) -> None:
    """From the moment on from which Redis takes commands: reading its data may have taken it longer than that."""
    await running(joblog, "a", max_attempts=1, left_ms=-1000, redis=redis)
    redis_server.restart()
    await joblog.read("a")  # somebody has used it since
    for seconds, state in ((LEASE - 1, "running"), (-60, "failed")):
        await back_since(redis, seconds)
        await leases.round()
        assert (await status(joblog, "a"))[0] == state, "a moment to come is of a clock that was set back"


async def test_an_empty_redis_needs_no_patience(joblog: JobLog, redis: Redis, leases: Leases) -> None:
    """Whoever begins the first generation of a memory finds nobody's lease there."""
    await redis.flushall()
    await redis.script_flush()
    await running(joblog, "a", max_attempts=1, left_ms=-1000, redis=redis)
    await leases.round()
    assert (await status(joblog, "a"))[0] == "failed"


async def back_since(redis: Redis, seconds: float) -> None:
    """Let so much time have passed since Redis came back: the moment is moved, not the clock."""
    now, _ = await redis.time()
    assert await redis.set(GENERATION_SINCE, round((now - seconds) * 1000), xx=True)


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[JobStore]:
    async with open_engines(f"sqlite+aiosqlite:///{tmp_path}/records.db") as engines:
        await schema.upgrade(engines)
        yield JobStore(engines)


async def test_a_job_that_nobody_begins_in_time_expires(
    store: JobStore, joblog: JobLog, redis: Redis
) -> None:
    """Past its deadline a waiting job ends as expired; one that was begun, or has time, goes on."""
    now = utc_now()
    for name, start_by in (("late", -1), ("begun", -1), ("early", 60), ("patient", None)):
        record = JobRecord(
            id=name,
            task=COUNT.name,
            params='{"steps":3}',
            created_at=now,
            start_by=None if start_by is None else now + timedelta(seconds=start_by),
        )
        await store.insert(record)
        await joblog.create(new_job(record))
    await Hand(joblog).begin("begun")

    lookup = Lookup(redis, store, Roster(Catalogue(redis), answer_seconds=10), answer_seconds=10)
    await StartDeadlines(store, joblog, lookup).round()

    found = {name: (await status(joblog, name))[0] for name in ("late", "begun", "early", "patient")}
    assert found == {"late": "expired", "begun": "running", "early": "queued", "patient": "queued"}
    error = (await joblog.read("late")).job.error
    assert error is not None
    assert error.code == "start_timeout"
    assert await redis.zcard("mp:queue:default") == 2
