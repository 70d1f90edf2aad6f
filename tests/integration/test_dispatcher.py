"""The dispatcher: what was accepted gets to Redis, whatever happened in between."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import closing
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from milepost_api.caretaker import Dispatcher
from milepost_api.caretaker import dispatch as module
from milepost_api.recorder import Recorder
from milepost_api.records import JobRecord, JobStore, Standing, job_of, new_job, open_engines, schema
from redis import Redis as BlockingRedis
from redis.asyncio import Redis

from milepost.log import JobLog, NewJob
from milepost.log.housekeeping import Keepsake
from milepost.log.keys import events_key, state_key
from milepost.log.lifecycle import Lifecycle
from milepost.times import parse, rfc3339, utc_now
from tests.support.api import COUNT, Hand
from tests.support.joblog import have_waited
from tests.support.redis import RedisServer

pytestmark = pytest.mark.anyio


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[JobStore]:
    async with open_engines(f"sqlite+aiosqlite:///{tmp_path}/records.db") as engines:
        await schema.upgrade(engines)
        yield JobStore(engines)


@pytest.fixture
def dispatcher(store: JobStore, joblog: JobLog, redis: Redis) -> Dispatcher:
    return Dispatcher(store, joblog, redis, Lifecycle(redis, "c"))


async def accept(store: JobStore, *job_ids: str, age_seconds: float = 60) -> None:
    for job_id in job_ids:
        created = utc_now() - timedelta(seconds=age_seconds)
        await store.insert(JobRecord(id=job_id, task=COUNT.name, params='{"steps":3}', created_at=created))


async def record_all(store: JobStore, joblog: JobLog, redis: Redis) -> None:
    lifecycle = Lifecycle(redis, "c")
    await lifecycle.join()
    await Recorder(lifecycle, store, joblog).record(await lifecycle.fresh(100, wait_ms=1))


async def there(joblog: JobLog, *job_ids: str) -> list[bool]:
    return [position is not None for position in await joblog.positions(job_ids)]


async def test_a_committed_job_that_never_reached_redis_is_brought_there(
    store: JobStore, joblog: JobLog, dispatcher: Dispatcher
) -> None:
    """The process died between commit and hand-over: the job runs nevertheless, and only once."""
    await accept(store, "a")
    await dispatcher.round()
    await dispatcher.round()

    assert await there(joblog, "a") == [True]
    assert (await joblog.read("a")).cursor.seq == 1
    assert (await Hand(joblog).begin("a")).params == {"steps": 3}
    assert await store.undispatched(created_before=utc_now(), limit=10) == []


async def test_a_job_that_is_just_being_accepted_is_left_to_its_request(
    store: JobStore, joblog: JobLog, dispatcher: Dispatcher
) -> None:
    """Its own request hands it over a moment later."""
    await accept(store, "a", age_seconds=0)
    await dispatcher.round()
    assert await there(joblog, "a") == [False]


async def test_after_a_flush_every_open_job_comes_back_at_once(
    store: JobStore, joblog: JobLog, dispatcher: Dispatcher, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One round brings all pages back; jobs that had ended stay ended."""
    monkeypatch.setattr(module, "PAGE", 3)
    ids = [f"job{number}" for number in range(8)]
    await accept(store, *ids)
    await dispatcher.round()
    await Hand(joblog).run("job4")
    await record_all(store, joblog, redis)
    await redis.flushall()

    await dispatcher.round()

    assert dict(zip(ids, await there(joblog, *ids), strict=True)) == {one: one != "job4" for one in ids}


async def test_after_a_restart_that_lost_a_job_every_page_is_compared_at_once(
    store: JobStore,
    joblog: JobLog,
    dispatcher: Dispatcher,
    redis: Redis,
    redis_server: RedisServer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """However many jobs are open: the one that a power failure or a failover has cost is not found

    only in its turn.
    """
    monkeypatch.setattr(module, "PAGE", 3)
    ids = [f"job{number}" for number in range(8)]
    await accept(store, *ids)
    for _ in range(2):
        await dispatcher.round()
    await redis.delete(state_key("job7"), events_key("job7"))
    await dispatcher.round()
    assert await there(joblog, "job7") == [False]  # its page has its turn later
    redis_server.restart()

    # Whatever runs a script meets the new memory.
    await joblog.create(NewJob(id="met", task=COUNT.name, created_at="2026-01-01T00:00:00Z"))
    await dispatcher.round()

    assert await there(joblog, "job7") == [True]


async def begun(store: JobStore, joblog: JobLog, redis: Redis, job_id: str, *, max_attempts: int) -> Hand:
    """Accept a job, begin it, and let the records know."""
    created = utc_now() - timedelta(seconds=60)
    await store.insert(
        JobRecord(id=job_id, task=COUNT.name, params="{}", created_at=created, max_attempts=max_attempts)
    )
    await Dispatcher(store, joblog, redis, Lifecycle(redis, "c")).round()
    hand = Hand(joblog)
    await hand.begin(job_id)
    await record_all(store, joblog, redis)
    return hand


async def test_what_was_running_when_redis_was_flushed_goes_on_or_ends(
    store: JobStore, joblog: JobLog, dispatcher: Dispatcher, redis: Redis
) -> None:
    """Attempts left: the next one, with the code `lost`. None left: failed, one end, in the records as well."""
    old = await begun(store, joblog, redis, "again", max_attempts=2)
    await begun(store, joblog, redis, "over", max_attempts=1)
    before = {one: await store.get(one) for one in ("again", "over")}
    await redis.flushall()

    await dispatcher.round()
    await dispatcher.round()

    again, over = await joblog.read("again"), await joblog.read("over")
    assert (again.job.status, again.job.attempt) == ("retrying", 1)
    assert (over.job.status, over.job.attempt, over.cursor.seq) == ("failed", 1, 1)
    assert [(one.job.error and (one.job.error.code, one.job.error.retryable)) for one in (again, over)] == [
        ("lost", True),
        ("lost", False),
    ]
    assert old._reports is not None
    assert await joblog.call(old._reports.renew(1000)) == b"refused"
    second = Hand(joblog)
    assert (await second.begin("again")).attempt == 2
    await second.succeed()
    await record_all(store, joblog, redis)
    for job_id, status, attempt in (("again", "succeeded", 2), ("over", "failed", 1)):
        record, was = await store.get(job_id), before[job_id]
        assert record is not None
        assert was is not None
        assert (record.status, record.done, record.attempt) == (status, True, attempt)
        assert record.started_at == was.started_at is not None
        assert record.epoch != was.epoch


@pytest.mark.parametrize("max_attempts", [1, 3])
async def test_a_job_that_was_asked_to_stop_does_not_run_again_when_redis_was_flushed(
    store: JobStore, joblog: JobLog, dispatcher: Dispatcher, redis: Redis, max_attempts: int
) -> None:
    """The cancel was answered: it is carried out, whatever attempts are left, and everybody is told the same."""
    await begun(store, joblog, redis, "a", max_attempts=max_attempts)
    assert await joblog.cancel("a") == "requested"
    await record_all(store, joblog, redis)
    await redis.flushall()
    async with redis.pubsub() as pubsub:
        await pubsub.subscribe("mp:{a}:live", "mp:jobs")
        await dispatcher.round()
        said = [await pubsub.get_message(timeout=20) for _ in range(4)]
    end, announcement = [message["data"].decode() for message in said[2:] if message]

    job = (await joblog.read("a")).job
    assert (job.status, job.attempt, job.cancel_requested) == ("cancelled", 1, True)
    assert job.error is not None
    assert (job.error.code, job.error.attempt) == ("cancelled", 1)
    assert await redis.zcard("mp:queue:default") == 0
    assert end.split(" ")[1] == "end"
    assert '"what":"created"' in announcement
    await record_all(store, joblog, redis)
    record = await store.get("a")
    assert record is not None
    assert (record.status, record.done, record.cancel_requested) == ("cancelled", True, True)
    assert job_of(record) == job


@pytest.mark.parametrize("waits", [False, True], ids=["running", "handed back"])
async def test_a_cancel_that_redis_came_back_without_is_carried_out(
    store: JobStore, joblog: JobLog, dispatcher: Dispatcher, redis: Redis, waits: bool
) -> None:
    """Only its last second was lost: whoever runs the job is asked again, and a job that waits is over."""
    hand = await begun(store, joblog, redis, "a", max_attempts=3)
    backup = {key: await redis.dump(key) async for key in redis.scan_iter("*")}
    assert await joblog.cancel("a") == "requested"
    await record_all(store, joblog, redis)
    await redis.flushall()
    for key, value in backup.items():
        await redis.restore(key, 0, value)
    if waits:
        await hand.release()

    await dispatcher.round()
    await dispatcher.round()

    job = (await joblog.read("a")).job
    if waits:
        assert (job.status, job.done) == ("cancelled", True)
        assert await redis.zcard("mp:queue:default") == 0
    else:
        assert (job.status, job.cancel_requested, job.version) == ("running", True, 3)  # asked once


async def test_a_cancel_is_not_asked_of_a_later_job(
    store: JobStore, joblog: JobLog, dispatcher: Dispatcher, redis: Redis
) -> None:
    """The job was deleted since its record was read, and its id was given again."""
    await begun(store, joblog, redis, "a", max_attempts=3)
    await joblog.cancel("a")
    await record_all(store, joblog, redis)
    await redis.delete(state_key("a"), events_key("a"))
    await joblog.create(NewJob(id="a", task=COUNT.name, created_at=rfc3339(utc_now())))

    await dispatcher.round()

    assert (await joblog.read("a")).job.status == "queued"


async def test_who_takes_over_in_the_middle_of_a_recovery_finishes_it(
    store: JobStore, joblog: JobLog, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process dies when half of the jobs are back: the next one brings the other half at once."""
    monkeypatch.setattr(module, "PAGE", 3)
    ids = [f"job{number}" for number in range(9)]
    await accept(store, *ids)
    await store.mark_dispatched(ids, utc_now())
    first = Dispatcher(store, joblog, redis, Lifecycle(redis, "c"))
    page = first._one_page

    async def dies(after: str) -> object:
        if after == "job5":
            raise ConnectionResetError
        return await page(after)

    monkeypatch.setattr(first, "_one_page", dies)
    with pytest.raises(ConnectionResetError):
        await first.round()
    assert (await there(joblog, *ids)).count(True) == 6

    second = Dispatcher(store, joblog, redis, Lifecycle(redis, "d"))
    await second.round()
    assert all(await there(joblog, *ids))
    await redis.delete("mp:{job0}:state", "mp:{job8}:state")
    await second.round()  # that was all: a page at a time again
    assert await there(joblog, "job0", "job8") == [True, False]


async def test_a_second_flush_in_the_middle_of_a_recovery_begins_it_again(
    store: JobStore, joblog: JobLog, dispatcher: Dispatcher, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was back is lost again, and comes back again, in the next round."""
    monkeypatch.setattr(module, "PAGE", 3)
    ids = [f"job{number}" for number in range(6)]
    await accept(store, *ids)
    await store.mark_dispatched(ids, utc_now())
    page = dispatcher._one_page

    async def flushed(after: str) -> object:
        if after:
            await redis.flushall()
        return await page(after)

    with monkeypatch.context() as patch:
        patch.setattr(dispatcher, "_one_page", flushed)
        await dispatcher.round()
    assert not all(await there(joblog, *ids))
    await dispatcher.round()
    assert all(await there(joblog, *ids))


async def test_a_job_too_young_to_be_brought_back_is_waited_for(
    store: JobStore, joblog: JobLog, redis: Redis
) -> None:
    """Its request may be about to hand it over. The recovery is not over before it is there."""
    now = utc_now()
    clock = [now]
    dispatcher = Dispatcher(store, joblog, redis, Lifecycle(redis, "c"), now=lambda: clock[0])
    record = JobRecord(id="a", task=COUNT.name, params="{}", created_at=now)
    await store.insert(record)
    await store.mark_dispatched(["a"], now)
    await dispatcher.round()
    assert await there(joblog, "a") == [False]
    clock[0] += timedelta(seconds=3)
    await dispatcher.round()
    assert await there(joblog, "a") == [True]


class FallsBehind:
    """A clock; whoever looks at it finds that the records have fallen behind since, as the lifecycle has it."""

    def __init__(self, url: str) -> None:
        self._url = url

    def __call__(self) -> datetime:
        with closing(BlockingRedis.from_url(self._url)) as redis:
            redis.delete("mp:lifecycle")
            redis.xadd("mp:lifecycle", {"e": "{}"}, id="0-1")
        return utc_now()


async def test_a_recovery_during_which_records_fall_behind_is_not_over(
    store: JobStore, joblog: JobLog, dispatcher: Dispatcher, redis: Redis, redis_server: RedisServer
) -> None:
    """What was not brought back, since that was not safe any more, is brought by the next recovery: all at once."""
    await accept(store, "a")
    await store.mark_dispatched(["a"], utc_now())
    lifecycle = Lifecycle(redis, "c")
    await Dispatcher(store, joblog, redis, lifecycle, now=FallsBehind(redis_server.url)).round()
    assert await there(joblog, "a") == [False]
    assert not await Keepsake(redis).is_there()

    await redis.delete("mp:lifecycle")
    await dispatcher.round()
    assert await there(joblog, "a") == [True]
    await dispatcher.round()  # Redis has a generation since the job was created
    assert await Keepsake(redis).is_there()


async def test_new_jobs_are_left_for_another_round_when_records_fall_behind(
    store: JobStore,
    joblog: JobLog,
    redis: Redis,
    redis_server: RedisServer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Nobody asks for the same full page again and again until it is safe."""
    monkeypatch.setattr(module, "PAGE", 2)
    await accept(store, "a", "b", "c")
    behind = Dispatcher(store, joblog, redis, Lifecycle(redis, "c"), now=FallsBehind(redis_server.url))
    async with asyncio.timeout(20):
        await behind.round()
    assert await there(joblog, "a", "b", "c") == [False] * 3


async def test_one_lost_job_is_found_in_time(
    store: JobStore, joblog: JobLog, dispatcher: Dispatcher, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without any flush, every open job is compared with the log again and again, a page each round."""
    monkeypatch.setattr(module, "PAGE", 2)
    ids = [f"job{number}" for number in range(6)]
    await accept(store, *ids)
    await dispatcher.round()
    await redis.delete("mp:{job5}:state", "mp:{job5}:events")

    for _ in range(4):
        await dispatcher.round()

    assert await there(joblog, "job5") == [True]


async def test_an_end_whose_event_was_lost_is_recorded(
    store: JobStore, joblog: JobLog, dispatcher: Dispatcher, redis: Redis
) -> None:
    """The log says done, nobody told the records: they are told."""
    await accept(store, "a")
    await dispatcher.round()
    await Hand(joblog).run("a", "[1]")
    await redis.delete("mp:lifecycle")

    await dispatcher.round()

    record = await store.get("a")
    assert record is not None
    assert (record.status, record.result, record.version) == ("succeeded", "[1]", 3)
    began = (await joblog.read("a")).job.started_at
    assert began is not None
    assert record.started_at == parse(began)


async def test_an_end_counts_though_the_clock_was_ahead_before_the_failover(
    store: JobStore, joblog: JobLog, dispatcher: Dispatcher, redis: Redis
) -> None:
    """By the clock of the new master the job ends before it began: it is over nevertheless, and runs once."""
    await accept(store, "a")
    await dispatcher.round()
    hand = Hand(joblog)
    await hand.begin("a")

    def ahead(standings: Mapping[str, Standing]) -> None:
        standings["a"].updated_at = utc_now() + timedelta(seconds=100)

    await record_all(store, joblog, redis)
    await store.change(["a"], ahead)
    await redis.script_flush()  # another server
    await hand.succeed("[1]")
    await redis.delete("mp:lifecycle")

    await dispatcher.round()

    record = await store.get("a")
    assert record is not None
    assert (record.status, record.done, record.result) == ("succeeded", True, "[1]")
    await redis.delete(state_key("a"), events_key("a"))
    await dispatcher.round()
    assert await there(joblog, "a") == [False]


async def test_a_cancel_whose_event_was_lost_is_recorded_with_the_end(
    store: JobStore, joblog: JobLog, dispatcher: Dispatcher, redis: Redis
) -> None:
    """The answer is the same when the log has let go of the job."""
    hand = await begun(store, joblog, redis, "a", max_attempts=1)
    assert await joblog.cancel("a") == "requested"
    await hand.succeed("[1]")
    await redis.delete("mp:lifecycle")

    await dispatcher.round()

    record = await store.get("a")
    assert record is not None
    assert job_of(record).cancel_requested
    assert (await joblog.read("a")).job.cancel_requested


async def test_an_end_that_redis_lost_the_last_attempt_to_is_recorded(
    store: JobStore, joblog: JobLog, dispatcher: Dispatcher, redis: Redis
) -> None:
    """The job was never delivered again, and the event of its end was lost as well."""
    await begun(store, joblog, redis, "over", max_attempts=1)
    await redis.flushall()
    await dispatcher.round()
    assert (await joblog.read("over")).job.status == "failed"
    await redis.delete("mp:lifecycle")

    await dispatcher.round()

    record = await store.get("over")
    assert record is not None
    assert (record.status, record.done, record.version) == ("failed", True, 1)
    assert (record.error or {})["code"] == "lost"


async def test_a_recorder_that_comes_after_the_dispatcher_changes_nothing(
    store: JobStore, joblog: JobLog, dispatcher: Dispatcher, redis: Redis
) -> None:
    """The caretaker may see an end while its recorder still gathers: both leave the same record."""
    await accept(store, "a")
    await dispatcher.round()
    await Hand(joblog).run("a", "[1]")

    await dispatcher.round()
    before = await store.get("a")
    await record_all(store, joblog, redis)

    after = await store.get("a")
    assert before is not None
    assert after is not None
    assert before.done
    assert before.started_at is not None
    assert after == before


async def test_nothing_runs_twice_because_the_records_are_far_behind(store: JobStore, redis: Redis) -> None:
    """A job that ended, was dropped by the log, and is not recorded yet looks like one that never was."""
    short = JobLog(redis, retention_seconds=1)
    dispatcher = Dispatcher(store, short, redis, Lifecycle(redis, "c"))
    await accept(store, "a")
    await dispatcher.round()
    old = "0-1"  # as if the event of its end had waited since 1970
    await redis.delete("mp:lifecycle", "mp:{a}:state", "mp:{a}:events")
    end = (
        '{"type":"end","job_id":"a","seq":3,"cursor":"e-3","at":"2026-01-01T00:00:00.000Z",'
        '"status":"succeeded","attempt":1}'
    )
    await redis.xadd("mp:lifecycle", {"e": end}, id=old)

    await dispatcher.round()
    assert await there(short, "a") == [False]

    await record_all(store, short, redis)
    await dispatcher.round()
    assert await there(short, "a") == [False]


async def test_a_waiting_job_that_stands_in_no_queue_is_delivered_again(
    store: JobStore, joblog: JobLog, redis: Redis, dispatcher: Dispatcher
) -> None:
    """Redis evicted the queue, or somebody deleted it: the job would wait for ever."""
    await accept(store, "a", "b")
    await dispatcher.round()
    await Hand(joblog).begin("b")
    await redis.delete("mp:queue:default")
    await dispatcher.round()
    assert await redis.zrange("mp:queue:default", 0, -1) == [b"a.2"]
    assert (await Hand(joblog).begin("a")).attempt == 1


@pytest.mark.parametrize("days", [2, 20, 80])
async def test_a_delayed_job_whose_queue_had_no_worker_for_long_is_lined_up(
    joblog: JobLog, redis: Redis, dispatcher: Dispatcher, store: JobStore, days: int
) -> None:
    """Long after its moment it stands where it would, had a worker looked then: before all that came later; once."""
    await accept(store, "a", "b", "c")
    soon = round(time.time() * 1000) + 3_600_000
    for job_id in ("a", "b"):
        record = await store.get(job_id)
        assert record is not None
        await joblog.create(replace(new_job(record), due_ms=soon))
    await have_waited(redis, "a", days=days)
    await dispatcher.round()
    await joblog.create(NewJob(id="later", task=COUNT.name, created_at="2026-11-21T03:30:00.000Z"))

    line = [b"a.2", b"c.1", b"later.1", b"b.1"]
    assert await redis.zrange("mp:queue:default", 0, -1) == line
    assert (await joblog.read("a")).job.queue_position == 1
    await dispatcher.round()
    assert await redis.zrange("mp:queue:default", 0, -1) == line
    assert await joblog.redeliver("a") == "there"
