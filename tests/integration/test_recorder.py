"""The recorder: what happens in the log reaches the records, once, whoever dies."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Collection, Iterator, Sequence
from datetime import timedelta
from functools import partial
from typing import Any

import pytest
from milepost_api import recorder as recorder_module
from milepost_api.caretaker import Dispatcher
from milepost_api.recorder import Recorder
from milepost_api.records import JobRecord, JobStore, job_of, new_job
from redis.asyncio import Redis

from milepost.background import end
from milepost.errors import JobNotFound, StoreUnavailable
from milepost.job import ErrorCode, JobError
from milepost.log import JobLog
from milepost.log import lifecycle as lifecycle_module
from milepost.log.housekeeping import settle
from milepost.log.keys import events_key, result_key, state_key
from milepost.log.lifecycle import Lifecycle
from milepost.times import parse, rfc3339, utc_now
from tests.support.api import COUNT, Hand
from tests.support.wait import eventually

pytestmark = pytest.mark.anyio


async def accepted(store: JobStore, joblog: JobLog, job_id: str) -> JobRecord:
    record = JobRecord(id=job_id, task=COUNT.name, params='{"steps":3}', max_attempts=3, created_at=utc_now())
    await store.insert(record)
    await joblog.create(new_job(record))
    return record


async def everything(recorder: Recorder, lifecycle: Lifecycle) -> None:
    """Record what there is, as `run` would."""
    await lifecycle.join()
    while entries := await lifecycle.fresh(3, wait_ms=1):
        await recorder.record(entries)


async def _is_done(store: JobStore, job_id: str) -> bool:
    return (await get(store, job_id)).done


async def get(store: JobStore, job_id: str) -> JobRecord:
    record = await store.get(job_id)
    assert record is not None
    return record


async def test_a_whole_life_reaches_the_record(store: JobStore, joblog: JobLog, redis: Redis) -> None:
    """Status, attempt, times, the whole result and the place in the history are all there afterwards."""
    await accepted(store, joblog, "a")
    await Hand(joblog).run("a", '"' + "x" * 20_000 + '"')
    lifecycle = Lifecycle(redis, "c")

    await everything(Recorder(lifecycle, store, joblog), lifecycle)

    record, view = await get(store, "a"), await joblog.read("a")
    assert (record.status, record.done, record.attempt) == ("succeeded", True, 1)
    assert (record.epoch, record.version) == (view.cursor.epoch, view.cursor.seq)
    assert record.result == '"' + "x" * 20_000 + '"'
    assert record.dispatched_at
    assert record.started_at
    assert record.finished_at
    assert record.expires_at is not None
    assert record.created_at <= record.finished_at < record.expires_at
    assert await redis.xlen("mp:lifecycle") == 0


async def test_a_failure_is_recorded_with_its_traceback(
    store: JobStore, joblog: JobLog, redis: Redis
) -> None:
    """Text that a database may refuse (NUL) does not stop the record."""
    await accepted(store, joblog, "a")
    hand = Hand(joblog)
    await hand.begin("a")
    await hand.fail(
        JobError(code=ErrorCode.EXCEPTION, message="no\x00", attempt=1, traceback="Trace\x00back")
    )
    lifecycle = Lifecycle(redis, "c")

    await everything(Recorder(lifecycle, store, joblog), lifecycle)

    record = await get(store, "a")
    assert (record.status, record.result, record.traceback) == ("failed", None, "Trace\\x00back")
    assert record.error
    assert record.error["message"] == "no\x00"


async def test_what_a_dead_recorder_was_given_is_recorded_by_another(
    store: JobStore, joblog: JobLog, redis: Redis
) -> None:
    """An event that was handed out and not acknowledged is handed out again."""
    await accepted(store, joblog, "a")
    await Hand(joblog).run("a")
    dead = Lifecycle(redis, "dead")
    await dead.join()
    assert len(await dead.fresh(100, wait_ms=1)) == 3

    heir = Lifecycle(redis, "heir")
    assert await heir.fresh(100, wait_ms=1) == []
    await Recorder(heir, store, joblog, dead_ms=0).take_over()

    assert (await get(store, "a")).status == "succeeded"
    assert await redis.xlen("mp:lifecycle") == 0


async def test_a_recorder_that_begins_again_records_what_it_owed(
    store: JobStore, joblog: JobLog, redis: Redis
) -> None:
    """Nothing that it was given before waits for somebody else to declare it dead."""
    await accepted(store, joblog, "a")
    await Hand(joblog).run("a")
    lifecycle = Lifecycle(redis, "c")
    await lifecycle.join()
    await lifecycle.fresh(100, wait_ms=1)

    running = asyncio.create_task(Recorder(Lifecycle(redis, "c"), store, joblog).run())
    try:
        await eventually(partial(_is_done, store, "a"), "what was owed is recorded")
    finally:
        await end(running)


async def test_what_follows_within_a_moment_is_part_of_the_same_transaction(
    store: JobStore, joblog: JobLog, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The whole life of a short job is recorded at once."""
    changes = list[list[str]]()
    change = JobStore.change

    async def counted(self: JobStore, job_ids: Sequence[str], apply: Any) -> None:
        changes.append(list(job_ids))
        await change(self, job_ids, apply)

    async def meanwhile(_: float) -> None:
        await Hand(joblog).run("a")

    monkeypatch.setattr(JobStore, "change", counted)
    lifecycle = Lifecycle(redis, "c")
    await lifecycle.join()
    running = asyncio.create_task(Recorder(lifecycle, store, joblog, sleep=meanwhile).run())
    try:
        await accepted(store, joblog, "a")
        await eventually(partial(_is_done, store, "a"), "the job is recorded")
    finally:
        await end(running)
    assert changes == [["a", "a", "a"]]


async def test_a_recorder_that_is_ended_while_it_gathers_records_what_it_has(
    store: JobStore, joblog: JobLog, redis: Redis
) -> None:
    """Its events need not wait until another one takes them for dead."""
    gathering = asyncio.Event()

    async def for_ever(_: float) -> None:
        gathering.set()
        await asyncio.Event().wait()

    lifecycle = Lifecycle(redis, "c")
    await lifecycle.join()
    running = asyncio.create_task(Recorder(lifecycle, store, joblog, sleep=for_ever).run())
    await accepted(store, joblog, "a")
    async with asyncio.timeout(20):
        await gathering.wait()
    await end(running)

    assert (await get(store, "a")).dispatched_at is not None
    assert await redis.xlen("mp:lifecycle") == 0


async def test_nothing_is_acknowledged_that_is_not_committed(
    store: JobStore, joblog: JobLog, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While the database is away the events stay; when it is back they are recorded."""
    await accepted(store, joblog, "a")
    await Hand(joblog).run("a")
    lifecycle = Lifecycle(redis, "c")
    await lifecycle.join()
    recorder, entries = Recorder(lifecycle, store, joblog), await lifecycle.fresh(100, wait_ms=1)

    async def away(*_: object) -> None:
        raise StoreUnavailable

    with monkeypatch.context() as patch:
        patch.setattr(JobStore, "change", away)
        with pytest.raises(StoreUnavailable):
            await recorder.record(entries)
    assert await redis.xlen("mp:lifecycle") == 3

    await recorder.record(await lifecycle.owed(100))
    assert (await get(store, "a")).done
    assert await redis.xlen("mp:lifecycle") == 0


async def test_an_event_that_cannot_be_recorded_does_not_hold_up_the_others(
    store: JobStore, joblog: JobLog, redis: Redis
) -> None:
    """Rubbish, events of unknown jobs and one that the database refuses are left out; the rest is recorded."""
    await accepted(store, joblog, "a")
    await accepted(store, joblog, "b")  # PostgreSQL refuses its status below, which is too long
    await redis.xadd("mp:lifecycle", {"e": "not json"})
    await redis.xadd("mp:lifecycle", {"x": "y"})
    unknown = {"type": "status", "job_id": "nobody", "seq": 1, "cursor": "e-1", "status": "running"}
    await redis.xadd("mp:lifecycle", {"e": json.dumps({**unknown, "at": "2026-01-01T00:00:00Z"})})
    for job_id, at, status in (("a", "never", "x"), ("b", "2026-01-01T00:00:00Z", "x" * 40)):
        end = {"type": "end", "job_id": job_id, "seq": 9, "cursor": "e-9", "at": at, "status": status}
        await redis.xadd("mp:lifecycle", {"e": json.dumps(end)})
    await Hand(joblog).run("a")
    lifecycle = Lifecycle(redis, "c")

    await everything(Recorder(lifecycle, store, joblog), lifecycle)

    assert (await get(store, "a")).status == "succeeded"
    assert await redis.xlen("mp:lifecycle") == 0


async def test_a_flush_of_redis_does_not_stop_the_recorder(
    store: JobStore, joblog: JobLog, redis: Redis
) -> None:
    """The group is gone with everything else, and made again."""
    lifecycle = Lifecycle(redis, "c")
    await lifecycle.join()
    await redis.flushall()
    assert await lifecycle.fresh(10, wait_ms=1) == []

    await accepted(store, joblog, "a")
    await Hand(joblog).run("a")
    await everything(Recorder(lifecycle, store, joblog), lifecycle)
    assert (await get(store, "a")).done


async def test_a_flush_is_survived_by_the_look_for_the_dead(
    store: JobStore, joblog: JobLog, redis: Redis
) -> None:
    """Whichever of its questions the recorder asks first after the flush: the group is made anew."""
    lifecycle = Lifecycle(redis, "c")
    recorder = Recorder(lifecycle, store, joblog)
    await lifecycle.join()
    await redis.flushall()
    await recorder.take_over()
    await accepted(store, joblog, "a")
    await Hand(joblog).run("a")
    while entries := await lifecycle.fresh(3, wait_ms=1):
        await recorder.record(entries)
    assert await _is_done(store, "a")


async def test_two_recorders_at_once_agree(store: JobStore, joblog: JobLog, redis: Redis) -> None:
    """Events of one job may go to different recorders, and be applied in any order."""
    ids = [f"job{number:02}" for number in range(20)]
    for job_id in ids:
        await accepted(store, joblog, job_id)
        await Hand(joblog).run(job_id)
    first, second = Lifecycle(redis, "1"), Lifecycle(redis, "2")
    await asyncio.gather(
        everything(Recorder(first, store, joblog), first), everything(Recorder(second, store, joblog), second)
    )

    records = [await get(store, job_id) for job_id in ids]
    assert {(record.status, record.version, record.started_at is None) for record in records} == {
        ("succeeded", 3, False)
    }


@pytest.mark.parametrize("is_there", [True, False], ids=["in the log", "lost since"])
async def test_an_end_that_is_recorded_first_is_told_when_the_job_began(
    store: JobStore, joblog: JobLog, redis: Redis, is_there: bool
) -> None:
    """Another recorder was given the rest; what the end has brought stays, and is searched for as before."""
    await accepted(store, joblog, "a")
    await Hand(joblog).run("a", "[1]")
    lifecycle = Lifecycle(redis, "c")
    await lifecycle.join()
    recorder = Recorder(lifecycle, store, joblog)
    *earlier, end = await lifecycle.fresh(10, wait_ms=1)

    if not is_there:
        await redis.delete(state_key("a"))

    await recorder.record([end])
    before = await get(store, "a")
    await recorder.record(earlier)

    after = await get(store, "a")
    assert (before.started_at is not None) == is_there
    assert after.started_at is not None
    assert {**before.model_dump(), "started_at": after.started_at} == after.model_dump()


async def test_a_job_that_is_handed_back_after_a_restart_has_begun_when_it_began_first(
    store: JobStore, joblog: JobLog, redis: Redis
) -> None:
    """The record says what the log says: the answer does not change when the log lets go of the job."""
    await accepted(store, joblog, "a")
    hand = Hand(joblog)
    await hand.begin("a")
    began = (await joblog.read("a")).job.started_at
    assert began is not None
    await redis.script_flush()  # another server
    await hand.release()
    lifecycle = Lifecycle(redis, "c")
    await everything(Recorder(lifecycle, store, joblog), lifecycle)
    record = await get(store, "a")
    assert (record.status, record.attempt, record.started_at) == ("queued", 0, parse(began))

    await Hand(joblog).run("a")
    await everything(Recorder(lifecycle, store, joblog), lifecycle)

    assert (await get(store, "a")).started_at == parse(began)
    assert (await joblog.read("a")).job.started_at == began


async def test_the_beginning_of_another_life_is_not_that_of_an_end(
    store: JobStore, joblog: JobLog, redis: Redis
) -> None:
    """Redis has lost the job after its end, and it was begun anew before that end could be recorded."""
    record = await accepted(store, joblog, "a")
    await Hand(joblog).run("a", '"first"')
    lifecycle = Lifecycle(redis, "c")
    await lifecycle.join()
    entries = await lifecycle.fresh(10, wait_ms=1)
    await forgotten_and_created_again(redis, joblog, record)
    await redis.hset(state_key("a"), "started_at", rfc3339(utc_now() + timedelta(seconds=60)))  # type: ignore[misc]

    await Recorder(lifecycle, store, joblog).record(entries)

    ended = await get(store, "a")
    assert ended.started_at is not None
    assert ended.finished_at is not None
    assert ended.started_at <= ended.finished_at


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    """Expected errors are logged without frames drawn around them."""
    import structlog

    structlog.configure(processors=[structlog.processors.KeyValueRenderer()])
    yield
    structlog.reset_defaults()


async def test_an_end_that_was_recorded_stands_when_redis_forgets_it(
    store: JobStore, joblog: JobLog, redis: Redis
) -> None:
    """The last second of Redis is lost, another attempt begins: it is refused, the job ends as it had ended."""
    await accepted(store, joblog, "a")
    backup = {key: await redis.dump(key) async for key in redis.scan_iter("*")}
    lifecycle = Lifecycle(redis, "c")
    recorder = Recorder(lifecycle, store, joblog)
    await Hand(joblog).run("a", '"first"')
    await everything(recorder, lifecycle)
    assert (await get(store, "a")).done
    await redis.flushall()
    for key, value in backup.items():
        await redis.restore(key, 0, value)
    again = Hand(joblog)
    await again.begin("a")
    await everything(recorder, lifecycle)
    job = (await joblog.read("a")).job
    assert (job.status, job.result, job.attempt) == ("succeeded", "first", 1)
    with pytest.raises(AssertionError):
        await again.succeed('"second"')
    assert (await get(store, "a")).result == '"first"'


async def forgotten_and_created_again(redis: Redis, joblog: JobLog, record: JobRecord) -> None:
    """What becomes of a job that Redis loses."""
    await redis.delete(state_key(record.id), events_key(record.id))
    await joblog.create(new_job(record))


async def test_of_two_ends_the_one_that_was_recorded_counts(
    store: JobStore, joblog: JobLog, redis: Redis
) -> None:
    """Redis forgot the first, and the job was done again before anybody could tell it:

    it forgets the second as well.
    """
    record = await accepted(store, joblog, "a")
    await Hand(joblog).run("a", '"first"')
    lifecycle = Lifecycle(redis, "c")
    recorder = Recorder(lifecycle, store, joblog)
    await everything(recorder, lifecycle)
    await forgotten_and_created_again(redis, joblog, record)
    await Hand(joblog).run("a", '"second"')

    await everything(recorder, lifecycle)

    assert (await get(store, "a")).result == '"first"'
    with pytest.raises(JobNotFound):
        await joblog.read("a")
    assert await redis.xlen("mp:lifecycle") == 0


async def test_an_end_that_was_given_back_is_no_second_end(
    store: JobStore, joblog: JobLog, redis: Redis
) -> None:
    """It is the same in another epoch: the log keeps it."""
    record = await accepted(store, joblog, "a")
    await Hand(joblog).run("a", '{"rows":3}')
    lifecycle = Lifecycle(redis, "c")
    recorder = Recorder(lifecycle, store, joblog)
    await everything(recorder, lifecycle)
    await forgotten_and_created_again(redis, joblog, record)
    assert await settle(joblog, job_of(await get(store, "a")), '{"rows":3}') == "settled"

    await everything(recorder, lifecycle)

    assert (await joblog.read("a")).job.result == {"rows": 3}


async def test_a_large_result_that_was_lost_is_never_told_as_null(
    store: JobStore, joblog: JobLog, redis: Redis
) -> None:
    """It was evicted before it could be recorded: log and record say that it was left out, and so does an end that is

    given back to the log.
    """
    record = await accepted(store, joblog, "a")
    await Hand(joblog).run("a", '"' + "x" * 20_000 + '"')
    await redis.delete(result_key("a"))
    lifecycle = Lifecycle(redis, "c")
    recorder = Recorder(lifecycle, store, joblog)
    await everything(recorder, lifecycle)
    ended = await get(store, "a")
    assert (ended.status, ended.result, job_of(ended).result_omitted) == ("succeeded", None, True)
    assert await joblog.result("a") is None
    await forgotten_and_created_again(redis, joblog, record)
    await Hand(joblog).begin("a")
    await everything(recorder, lifecycle)
    given_back = (await joblog.read("a")).job
    assert (given_back.status, given_back.result, given_back.result_omitted) == ("succeeded", None, True)
    assert await joblog.result("a") is None


async def test_a_result_that_redis_lost_is_taken_from_the_event(
    store: JobStore, joblog: JobLog, redis: Redis
) -> None:
    """The event was read before the flush, the result would have been after it."""
    await accepted(store, joblog, "a")
    await Hand(joblog).run("a", '{"rows":3}')
    lifecycle = Lifecycle(redis, "c")
    await lifecycle.join()
    entries = await lifecycle.fresh(100, wait_ms=1)
    await redis.flushall()
    await Recorder(lifecycle, store, joblog).record(entries)
    assert json.loads((await get(store, "a")).result or "") == {"rows": 3}


async def test_what_was_trimmed_before_it_was_recorded_is_found_by_the_dispatcher(
    store: JobStore, joblog: JobLog, redis: Redis
) -> None:
    """The stream is full: the oldest events are gone, given out or not. The recorder goes on, the ends are recorded."""
    lifecycle = Lifecycle(redis, "c")
    await lifecycle.join()
    for job_id in ("given", "waiting", "kept"):
        await accepted(store, joblog, job_id)
        await Hand(joblog).run(job_id, f'"{job_id}"')
        if job_id == "given":
            assert len(await lifecycle.fresh(3, wait_ms=1)) == 3
    await redis.xtrim("mp:lifecycle", maxlen=2, approximate=False)
    recorder = Recorder(lifecycle, store, joblog)
    while owed := await lifecycle.owed(10):
        await recorder.record(owed)
    await everything(recorder, lifecycle)
    assert [(await get(store, one)).done for one in ("given", "waiting", "kept")] == [False, False, True]

    await Dispatcher(store, joblog, redis, lifecycle).round()

    records = [await get(store, one) for one in ("given", "waiting", "kept")]
    assert [record.result for record in records] == ['"given"', '"waiting"', '"kept"']
    assert {record.status for record in records} == {"succeeded"}


async def test_a_batch_is_bounded_in_number_and_size(
    store: JobStore, joblog: JobLog, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However much waits: so many events, so many bytes of them, so many bytes of large results at once."""
    monkeypatch.setattr(lifecycle_module, "PAGE_ENTRIES", 10)
    monkeypatch.setattr(lifecycle_module, "PAGE_BYTES", 20_000)
    monkeypatch.setattr(recorder_module, "RESULT_BYTES", 50_000)
    ids = [f"job{number:02}" for number in range(12)]
    for job_id in ids:
        await accepted(store, joblog, job_id)
        await Hand(joblog).run(job_id, f'"{"x" * 20_000}"')  # too large for its event
    lifecycle = Lifecycle(redis, "c")
    await lifecycle.join()
    batches, fetched = [], []
    outcomes = Lifecycle.outcomes

    async def counted(self: Lifecycle, job_ids: Sequence[str], *, large: Collection[str]) -> Any:
        fetched.append(len(large))
        return await outcomes(self, job_ids, large=large)

    monkeypatch.setattr(Lifecycle, "outcomes", counted)
    recorder = Recorder(lifecycle, store, joblog)
    while entries := await lifecycle.fresh(25, wait_ms=1):
        batches.append(entries)
        await recorder.record(entries)
    assert sum(map(len, batches)) == 36
    assert max(map(len, batches)) <= 25
    assert all(sum(entry.size for entry in batch[:-10]) < 20_000 for batch in batches)
    assert (sum(fetched), max(fetched)) == (12, 2)
    assert {len((await get(store, one)).result or "") for one in ids} == {20_002}
