"""Reading: a snapshot and the history after a cursor, of one moment, and what is pushed to who listens."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from redis.asyncio import Redis

from milepost.codec import Cursor, dumps
from milepost.events import Ended, Snapshot
from milepost.fold import fold
from milepost.job import Job, Progress, Status
from milepost.log import JobLog, live_channel
from milepost.log.joblog import READ_ENTRIES
from milepost.log.keys import events_key
from tests.support import strategies as some
from tests.support.joblog import (
    HALF,
    check,
    claimed,
    created,
    folded,
    heard,
    history,
    raw_history,
    said,
    state_of,
    without_clocks,
)
from tests.support.redis import RedisServer, every_redis

pytestmark = every_redis


def examples(count: int) -> settings:
    """Every example makes a job of its own, so that they may share a server."""
    return settings(max_examples=count, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture
def log(redis: Redis) -> JobLog:
    return JobLog(redis)


async def test_a_snapshot_and_what_follows_are_of_one_moment(log: JobLog, redis: Redis) -> None:
    """Whoever reads while a worker reports sees a job that equals the events up to its version."""
    new = await created(log)
    reports = log.reports(await claimed(log, redis, new.id))
    begin = Cursor((await log.read(new.id)).cursor.epoch, 0)

    async def report() -> None:
        for count in range(200):
            await log.call(reports.progress(Progress(current=count, total=200)))
        await log.call(reports.end(Status.SUCCEEDED, HALF))

    async def read_along() -> int:
        looks = 0
        while True:
            view = await log.read(new.id, begin)
            last = view.entries[-1]
            assert (last.seq, view.job.version, view.more) == (view.cursor.seq, view.cursor.seq, False)
            wire = json.loads(last.data)
            assert view.job.done == (wire["type"] == "end")
            if wire["type"] == "progress":
                assert view.job.progress.current == wire["progress"]["current"]
            looks += 1
            if view.job.done:
                return looks

    looks, _ = await asyncio.gather(read_along(), report())
    assert looks > 1
    await check(log, new)


async def test_a_snapshot_in_the_middle_and_the_rest_make_the_whole(log: JobLog, redis: Redis) -> None:
    """For every place a reader may begin at."""
    new = await created(log)
    reports = log.reports(await claimed(log, redis, new.id))
    views = [await log.read(new.id)]
    for count in range(5):
        await said(log, reports.progress(Progress(current=count)))
        views.append(await log.read(new.id))
    await said(log, reports.end(Status.SUCCEEDED, HALF))
    events = await history(log, new.id)
    for view in views:
        later = await log.read(new.id, view.cursor)
        assert (later.gap, later.more) == (None, False)
        assert [entry.seq for entry in later.entries] == list(range(view.cursor.seq + 1, len(events) + 1))
        job = fold(
            Job(id=new.id, task=""),
            Snapshot(job_id=new.id, seq=view.cursor.seq, cursor=str(view.cursor), at=view.at, job=view.job),
        )
        for event in events[view.cursor.seq :]:
            job = fold(job, event)
        assert without_clocks(job) == folded(new, events)


async def test_a_reader_that_has_everything_gets_nothing(log: JobLog, redis: Redis) -> None:
    """No gap either."""
    new = await created(log)
    here = (await log.read(new.id)).cursor
    view = await log.read(new.id, here)
    assert (view.entries, view.gap, view.more) == ((), None, False)


async def test_a_cursor_of_another_history_is_a_gap(log: JobLog) -> None:
    """Another epoch, the future, another job's: never a wrong or partial replay."""
    new, other = await created(log), await created(log)
    here, there = (await log.read(new.id)).cursor, (await log.read(other.id)).cursor
    assert (await log.read(new.id, Cursor("nonsense", 0))).gap == "epoch"
    assert (await log.read(new.id, there)).gap == "epoch"
    for seq in (here.seq + 1, 10**15 - 1):
        view = await log.read(new.id, Cursor(here.epoch, seq))
        assert (view.gap, view.entries) == ("ahead", ())


async def test_a_cursor_older_than_the_history_is_a_gap(redis: Redis) -> None:
    """The history is cut to about its limit, at its beginning; the first place that is left is served."""
    log = JobLog(redis, history_limit=10)
    new = await created(log)
    reports = log.reports(await claimed(log, redis, new.id))
    for count in range(500):
        await log.call(reports.progress(Progress(current=count)))
    epoch = (await log.read(new.id)).cursor.epoch
    assert await redis.xlen(events_key(new.id)) < 250
    oldest = int((await redis.xrange(events_key(new.id), count=1))[0][0].split(b"-")[0])
    trimmed = await log.read(new.id, Cursor(epoch, oldest - 2))
    assert (trimmed.gap, trimmed.entries) == ("trimmed", ())
    served = await log.read(new.id, Cursor(epoch, oldest - 1))
    assert served.gap is None
    assert [entry.seq for entry in served.entries] == list(range(oldest, 503))


async def test_a_history_that_is_gone_is_a_gap(log: JobLog, redis: Redis) -> None:
    """An eviction took the stream and left the hash: a reader must not take silence for the truth."""
    new = await created(log)
    begin = Cursor((await log.read(new.id)).cursor.epoch, 0)
    await redis.delete(events_key(new.id))
    assert (await log.read(new.id, begin)).gap == "trimmed"
    here = (await log.read(new.id)).cursor
    assert (await log.read(new.id, here)).gap is None


async def test_a_long_history_comes_in_pages(log: JobLog, redis: Redis) -> None:
    """Each says whether there is more, and no page is too long for Redis to be busy with."""
    new = await created(log)
    reports = log.reports(await claimed(log, redis, new.id))
    for _ in range(READ_ENTRIES + 10):
        await log.call(reports.log("info", "x", None))
    first = await log.read(new.id, Cursor((await log.read(new.id)).cursor.epoch, 0))
    assert (len(first.entries), first.more) == (READ_ENTRIES, True)
    assert len(await raw_history(log, new.id)) == READ_ENTRIES + 12
    await check(log, new)


async def test_every_event_is_published_as_it_is_in_the_history(log: JobLog, redis: Redis) -> None:
    """`cursor type json`, in order, one message for each; a large one is announced without its text."""
    new = await created(log)
    async with redis.pubsub() as pubsub:
        await pubsub.subscribe(live_channel(new.id))
        reports = log.reports(await claimed(log, redis, new.id))
        text = "é\0\r\n\u2028\U0001f680" * 200_000
        small, large = reports.output(0, "small"), reports.output(1, text)
        await said(log, small, large, reports.end(Status.SUCCEEDED, HALF))
        messages = [message["data"] for message in (await heard(pubsub, 5))[1:]]
    wires = await raw_history(log, new.id)
    assert [message.split(b" ")[:2] for message in messages] == [
        [wire["cursor"].encode(), wire["type"].encode()] for wire in wires[1:]
    ]
    bodies = [message.split(b" ", 2)[2:] for message in messages]
    assert [len(body) for body in bodies] == [1, 1, 0, 1]
    assert [json.loads(body[0]) for body in bodies if body] == [wires[1], wires[2], wires[4]]
    assert wires[3]["data"] == text


@given(some.text, some.json_values)
@examples(50)
async def test_hostile_text_arrives_equal(log: JobLog, redis: Redis, text: str, data: object) -> None:
    """Every line end, every end of a string, lone surrogates: in messages, data, tags, results and errors."""
    new = await created(log, tags=(text,), metadata={text: data})
    reports = log.reports(await claimed(log, redis, new.id))
    calls = reports.progress(Progress(message=text)), reports.log("info", text, text), reports.output(0, data)
    assert await said(log, *calls, reports.end(Status.SUCCEEDED, HALF, result=dumps(data))) == ["ok"] * 4
    view = await check(log, new)
    assert (view.job.tags, view.job.metadata, view.job.result) == ((text,), {text: data}, data)
    wires = await raw_history(log, new.id)
    assert (wires[2]["progress"]["message"], wires[3]["message"], wires[4]["data"]) == (text, text, data)


async def test_a_large_result_is_left_out_of_events_and_kept_apart(log: JobLog, redis: Redis) -> None:
    """Readers are told that it was; it is fetched by its own address."""
    new = await created(log)
    result = dumps("x" * 1_000_000)
    await said(log, log.reports(await claimed(log, redis, new.id)).end(Status.SUCCEEDED, HALF, result=result))
    view = await check(log, new)
    assert (view.job.result, view.job.result_omitted) == (None, True)
    last = (await history(log, new.id))[-1]
    assert isinstance(last, Ended)
    assert (last.result, last.result_omitted) == (None, True)
    assert await log.result(new.id) == result.encode()


@given(st.integers(4_102_444_800_000, 253_402_300_799_999))
@examples(100)
async def test_times_are_rfc_3339_to_the_millisecond(log: JobLog, due_ms: int) -> None:
    """Whatever the date: Lua has no calendar, so the script computes it (here until the year 9999)."""
    new = await created(log, due_ms=due_ms)
    shown = (await log.read(new.id)).job.run_at
    expected = datetime.fromtimestamp(due_ms // 1000, UTC).replace(microsecond=due_ms % 1000 * 1000)
    assert shown == expected.isoformat(timespec="milliseconds").replace("+00:00", "Z")


async def test_time_is_the_servers(log: JobLog, redis: Redis) -> None:
    """Hosts with wrong clocks cannot disorder a history."""
    before, _ = await redis.time()
    new = await created(log)
    after, _ = await redis.time()
    at = datetime.fromisoformat((await history(log, new.id))[0].at).timestamp()
    assert before <= at < after + 1


async def test_positions_are_read_in_one_round_trip(log: JobLog, redis: Redis) -> None:
    """What a hub needs to see that it has missed something."""
    new, other = await created(log), await created(log)
    await log.cancel(other.id)
    here, there = await log.read(new.id), await log.read(other.id)
    assert await log.positions([new.id, "nobody", other.id]) == [
        (here.cursor.epoch, 1, False),
        None,
        (there.cursor.epoch, 2, True),
    ]


async def test_scripts_that_redis_has_forgotten_are_sent_again(log: JobLog, redis: Redis) -> None:
    """SCRIPT FLUSH by an operator, or another server behind the same address."""
    new = await created(log)
    await redis.script_flush()
    reports = log.reports(await claimed(log, redis, new.id))
    await redis.script_flush()
    assert await said(log, reports.progress(HALF)) == ["ok"]
    await check(log, new)


async def test_a_restart_loses_nothing_with_an_append_only_file(
    log: JobLog, redis: Redis, redis_server: RedisServer
) -> None:
    """The attempt goes on where it was, and so do readers; its lease and its fence are still there."""
    new, waiting = await created(log), await created(log)
    reports = log.reports(await claimed(log, redis, new.id))
    assert await said(log, reports.progress(HALF)) == ["ok"]
    before = await log.read(new.id)
    redis_server.restart()
    assert await said(log, reports.log("info", "still here", None), reports.renew(12_000)) == ["ok", "ok"]
    assert await said(log, reports.end(Status.SUCCEEDED, HALF)) == ["ok"]
    await check(log, new)
    after = await log.read(new.id, before.cursor)
    assert (after.gap, len(after.entries)) == (None, 2)
    assert (await claimed(log, redis, waiting.id)).attempt == 1
    assert await state_of(redis, new.id, "status") == "succeeded"
