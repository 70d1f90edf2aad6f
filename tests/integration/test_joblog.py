"""The life of one job in the log: what is taken, what is refused, what is left."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace

import pytest
from redis.asyncio import Redis

from milepost.errors import BadReport, JobNotFound
from milepost.job import ErrorCode, JobError, Progress, Status
from milepost.log import JobLog
from milepost.log.housekeeping import expire_unstarted, settle
from milepost.log.keys import LEASES, control_channel, queue_key
from tests.support.joblog import (
    BROKEN,
    HALF,
    check,
    claim,
    claimed,
    created,
    delivery_of,
    heard,
    history,
    lapse,
    said,
    state_of,
    take,
    waiting_deliveries,
)
from tests.support.redis import every_redis

pytestmark = every_redis


@pytest.fixture
def log(redis: Redis) -> JobLog:
    return JobLog(redis, retention_seconds=600)


async def types_of(log: JobLog, job_id: str) -> list[str]:
    return [event.type for event in await history(log, job_id)]


async def test_a_job_runs_to_its_end(log: JobLog, redis: Redis) -> None:
    """Queued, running, whatever it says, one end: numbered without a hole, the state as the history says."""
    new = await created(log, tags=("a",), metadata={"x": [1]}, priority=3, batch_id="b")
    one = await claimed(log, redis, new.id)
    reports = log.reports(one)
    calls = [
        reports.progress(HALF),
        reports.log("info", "hello", "t"),
        reports.output(0, {"rows": 5}),
        reports.end(Status.SUCCEEDED, Progress(percent=100), result="[1,2]"),
    ]
    assert await said(log, *calls) == ["ok"] * 4
    assert await types_of(log, new.id) == ["status", "status", "progress", "log", "output", "end"]
    view = await check(log, new)
    assert (view.job.status, view.job.result, view.job.progress.percent) == (Status.SUCCEEDED, [1, 2], 100)
    assert await log.result(new.id) == b"[1,2]"


async def test_creating_a_job_again_changes_nothing(log: JobLog) -> None:
    """A dispatcher that was interrupted may ask twice."""
    new = await created(log)
    before = await log.read(new.id)
    assert not await log.create(new)
    assert (await log.read(new.id)).cursor == before.cursor


async def test_a_zombie_is_refused(log: JobLog, redis: Redis) -> None:
    """An attempt that has lost its job can report nothing, not even that it succeeded."""
    new = await created(log, max_attempts=2)
    old = log.reports(await claimed(log, redis, new.id, "w1"))
    assert await lapse(log, redis, new.id, silent_seconds=13) == "retrying"
    assert await said(log, old.progress(HALF)) == ["refused"]
    fresh = log.reports(await claimed(log, redis, new.id, "w2"))
    late = old.renew(12_000), old.progress(HALF), old.retry(BROKEN, 0), old.release()
    assert await said(log, *late, old.end(Status.SUCCEEDED, HALF)) == ["refused"] * 5
    assert await said(log, fresh.progress(HALF), fresh.end(Status.SUCCEEDED, HALF)) == ["ok", "ok"]
    assert (await check(log, new)).job.attempt == 2


async def test_a_report_that_is_sent_twice_is_taken_once(log: JobLog, redis: Redis) -> None:
    """The reply to the first was lost, so the worker sends it again, after the end too."""
    new = await created(log)
    reports = log.reports(await claimed(log, redis, new.id))
    first, second = reports.progress(HALF), reports.log("info", "x", None)
    end = reports.end(Status.SUCCEEDED, HALF)
    answers = await said(log, first, first, second, first, second, end, end, first)
    assert answers == ["ok", "duplicate", "ok", "duplicate", "duplicate", "ok", "duplicate", "duplicate"]
    assert await types_of(log, new.id) == ["status", "status", "progress", "log", "end"]
    await check(log, new)


async def test_nothing_is_taken_after_the_end(log: JobLog, redis: Redis) -> None:
    """Neither a report nor a cancel, a claim, a lapse or a delivery."""
    new = await created(log)
    delivery = f"{new.id}.{await delivery_of(redis, new.id)}"
    reports = log.reports(await claimed(log, redis, new.id))
    assert await said(log, reports.end(Status.FAILED, HALF, error=BROKEN)) == ["ok"]
    before = await check(log, new)
    assert await said(log, reports.progress(HALF), reports.renew(12_000)) == ["refused", "refused"]
    assert await log.cancel(new.id) == "already_done"
    await redis.zadd(queue_key("default"), {delivery: 0})  # as if it had never left the queue
    assert (await take(log, "w2")).claims == ()
    assert await waiting_deliveries(redis) == []
    assert await lapse(log, redis, new.id, silent_seconds=99) == "unleased"
    assert await log.redeliver(new.id) == "not_waiting"
    assert await expire_unstarted(log, new.id) == "begun"
    after = await check(log, new)
    assert (after.job, after.cursor) == (before.job, before.cursor)


async def test_a_failed_attempt_is_retried_later(log: JobLog, redis: Redis) -> None:
    """The job waits until it is due, shows why, and the next attempt begins at nothing."""
    new = await created(log, max_attempts=2)
    reports = log.reports(await claimed(log, redis, new.id))
    assert await said(log, reports.progress(HALF), reports.retry(BROKEN, 3_600_000)) == ["ok", "ok"]
    waiting = (await check(log, new)).job
    assert (waiting.status, waiting.error, waiting.progress) == (Status.RETRYING, BROKEN, HALF)
    assert await claim(log, redis, new.id) is None  # though it was put at the head of the line
    soon = (await take(log)).soon_seconds
    assert soon is not None
    assert 3_500 < soon <= 3_600


async def test_a_job_that_is_handed_back_keeps_its_attempts(log: JobLog, redis: Redis) -> None:
    """A deploy is no failure."""
    new = await created(log, max_attempts=1)
    for worker in ("w1", "w2", "w3"):
        one = await claimed(log, redis, new.id, worker)
        assert one.attempt == 1
        assert await said(log, log.reports(one).release()) == ["ok"]
        assert (await check(log, new)).job.status == Status.QUEUED


async def test_a_checkpoint_is_for_the_next_attempt_only(log: JobLog, redis: Redis) -> None:
    """The latest one, whatever ends the attempt; it is no event, and no reader of the job sees it."""
    new = await created(log, max_attempts=9)
    first = await claimed(log, redis, new.id)
    assert first.checkpoint is None
    reports = log.reports(first)
    calls = [reports.checkpoint('{"secret":1}'), reports.checkpoint('{"secret":2}'), reports.retry(BROKEN, 0)]
    assert await said(log, *calls) == ["ok", "ok", "ok"]
    second = await claimed(log, redis, new.id)
    assert second.checkpoint == '{"secret":2}'
    assert await said(log, log.reports(second).release()) == ["ok"]
    third = await claimed(log, redis, new.id)
    assert third.checkpoint == '{"secret":2}'
    reports = log.reports(third)
    assert await said(log, reports.checkpoint("3")) == ["ok"]
    await lapse(log, redis, new.id, silent_seconds=13)
    last = await claimed(log, redis, new.id)
    assert last.checkpoint == "3"
    assert await said(log, reports.checkpoint("4")) == ["refused"]
    view = await check(log, new)
    assert "secret" not in str(view)
    assert set(await types_of(log, new.id)) == {"status", "stalled"}


async def test_a_waiting_job_is_cancelled_at_once(log: JobLog, redis: Redis) -> None:
    """Queued, scheduled or retrying: nobody runs it, so nobody is asked."""
    queued, scheduled, retrying = await created(log), await created(log, delay_ms=60_000), await created(log)
    await said(log, log.reports(await claimed(log, redis, retrying.id)).retry(BROKEN, 60_000))
    for new in (queued, scheduled, retrying):
        assert await log.cancel(new.id) == "cancelled"
        job = (await check(log, new)).job
        assert (job.status, job.error and job.error.code) == (Status.CANCELLED, ErrorCode.CANCELLED)
    assert await waiting_deliveries(redis) == []


async def test_a_cancel_whose_answer_was_lost_is_answered_again(log: JobLog) -> None:
    """The client sends the same call again and hears what it has done; whoever comes later hears that it was done."""
    new = await created(log)
    call = log.cancellation(new.id, None)
    assert await said(log, call, call) == ["cancelled", "cancelled"]
    assert await log.cancel(new.id) == "already_done"
    assert await said(log, call) == ["cancelled"]
    assert [event.type for event in await history(log, new.id)] == ["status", "end"]


async def test_the_worker_of_a_running_job_is_asked_to_cancel(log: JobLog, redis: Redis) -> None:
    """Told on its channel and at every heartbeat; readers see that it was asked, once."""
    new = await created(log)
    reports = log.reports(await claimed(log, redis, new.id, "w7"))
    async with redis.pubsub() as pubsub:
        await pubsub.subscribe(control_channel("w7"))
        assert await log.cancel(new.id) == "requested"
        assert await log.cancel(new.id) == "requested"
        messages = await heard(pubsub, 3)
    assert [message["data"] for message in messages[1:]] == [f"cancel {new.id}".encode()] * 2
    assert await said(log, reports.renew(12_000)) == ["cancel"]
    assert (await check(log, new)).job.cancel_requested
    assert await types_of(log, new.id) == ["status", "status", "status"]
    assert await said(log, reports.end(Status.CANCELLED, HALF, error=BROKEN)) == ["ok"]


@pytest.mark.parametrize("way", ["retry", "release", "lapse"])
async def test_a_cancel_that_was_not_heard_is_carried_out_when_the_attempt_is_over(
    log: JobLog, redis: Redis, way: str
) -> None:
    """Nobody runs the job again, however the attempt ended."""
    new = await created(log, max_attempts=9)
    reports = log.reports(await claimed(log, redis, new.id))
    await log.cancel(new.id)
    if way == "lapse":
        assert await lapse(log, redis, new.id, silent_seconds=13) == "cancelled"
    else:
        assert await said(log, reports.retry(BROKEN, 0) if way == "retry" else reports.release()) == ["ok"]
    job = (await check(log, new)).job
    assert (job.status, job.error and job.error.code) == (Status.CANCELLED, ErrorCode.CANCELLED)
    assert await waiting_deliveries(redis) == []


async def test_silence_is_told_and_taken_back(log: JobLog, redis: Redis) -> None:
    """`stalled` once per silence; `recovered` at the next heartbeat."""
    new = await created(log)
    reports = log.reports(await claimed(log, redis, new.id))
    assert await lapse(log, redis, new.id, silent_seconds=1) == "alive"
    assert await lapse(log, redis, new.id, silent_seconds=7) == "stalled"
    assert await lapse(log, redis, new.id, silent_seconds=8) == "alive"
    assert (await check(log, new)).job.stalled
    assert await said(log, reports.renew(12_000), reports.renew(12_000)) == ["ok", "ok"]
    assert not (await check(log, new)).job.stalled
    assert await types_of(log, new.id) == ["status", "status", "stalled", "stalled"]


async def test_a_lost_worker_is_replaced_until_no_attempts_are_left(log: JobLog, redis: Redis) -> None:
    """`stalled`, then another attempt, then `failed(worker_lost)`: the job ends whatever dies."""
    new = await created(log, max_attempts=2)
    await claimed(log, redis, new.id, "w1")
    assert await lapse(log, redis, new.id, silent_seconds=13) == "retrying"
    waiting = (await check(log, new)).job
    assert waiting.error is not None
    assert (waiting.error.code, waiting.error.attempt, waiting.error.retryable) == ("worker_lost", 1, True)
    await claimed(log, redis, new.id, "w2")
    assert await lapse(log, redis, new.id, silent_seconds=13) == "failed"
    job = (await check(log, new)).job
    assert job.error is not None
    assert (job.status, job.error.code, job.error.attempt) == (Status.FAILED, "worker_lost", 2)
    assert await types_of(log, new.id) == ["status"] * 2 + ["stalled"] + ["status"] * 2 + ["stalled", "end"]


async def test_old_leases_are_found_the_most_overdue_first(log: JobLog, redis: Redis) -> None:
    """Only those that have been silent long enough; ended jobs have none."""
    jobs = [await created(log) for _ in range(4)]
    claims = [await claimed(log, redis, new.id) for new in jobs]
    for new, silent in zip(jobs, (13, 7, 1, 20), strict=True):
        seconds, _ = await redis.time()
        await redis.zadd(LEASES, {new.id: (seconds + 12 - silent) * 1000})
    found = await log.old_leases(lease_seconds=12, silence_seconds=6)
    assert found == [jobs[3].id, jobs[0].id, jobs[1].id]
    await said(log, *(log.reports(one).end(Status.SUCCEEDED, HALF) for one in claims))
    assert await log.old_leases(lease_seconds=12, silence_seconds=6) == []


async def test_one_job_is_taken_by_one_worker(log: JobLog, redis: Redis) -> None:
    """Fifty ask at once."""
    new = await created(log)
    answers = await asyncio.gather(*(take(log, f"w{i}") for i in range(50)))
    assert [claim.job_id for taken in answers for claim in taken.claims] == [new.id]
    await check(log, new)


async def test_a_worker_that_does_not_know_the_task_leaves_the_job_alone(log: JobLog, redis: Redis) -> None:
    """Another one may know it: during a deploy of a new task, say."""
    new = await created(log, task="new.task")
    assert await claim(log, redis, new.id) is None
    assert await waiting_deliveries(redis) == [f"{new.id}.1"]
    assert (await check(log, new)).job.status == Status.QUEUED


async def test_an_old_delivery_is_stale(log: JobLog, redis: Redis) -> None:
    """Only the present delivery of a job begins an attempt; what is left over is cleared away."""
    new = await created(log)
    await redis.zrem(queue_key("default"), f"{new.id}.1")
    assert await log.redeliver(new.id) == "delivered"
    await redis.zadd(queue_key("default"), {f"{new.id}.1": 0, "nobody.1": 0})
    assert [claim.attempt for claim in (await take(log)).claims] == [1]
    assert await waiting_deliveries(redis) == []


async def test_a_cancel_and_an_end_at_once_make_one_end(log: JobLog, redis: Redis) -> None:
    """Two hundred races: whoever is first decides, and both hear which."""
    for _ in range(200):
        new = await created(log)
        reports = log.reports(await claimed(log, redis, new.id))
        cancelled, ended = await asyncio.gather(
            log.cancel(new.id), log.call(reports.end(Status.SUCCEEDED, HALF, result="1"))
        )
        assert (cancelled, ended) in {("requested", b"ok"), ("already_done", b"ok")}
        job = (await check(log, new)).job
        assert (job.status, job.result) == (Status.SUCCEEDED, 1)


async def test_a_cancel_and_a_claim_at_once_agree(log: JobLog, redis: Redis) -> None:
    """Either the job ends before it began, or its worker is asked."""
    for _ in range(50):
        new = await created(log)
        cancelled, taken = await asyncio.gather(log.cancel(new.id), take(log))
        assert (cancelled, len(taken.claims)) in {("cancelled", 0), ("requested", 1)}
        await check(log, new)


async def test_a_job_that_nobody_begins_expires(log: JobLog, redis: Redis) -> None:
    """Once begun it does not, even while it waits for its next attempt."""
    new, begun = await created(log), await created(log, max_attempts=2)
    await said(log, log.reports(await claimed(log, redis, begun.id)).retry(BROKEN, 0))
    assert await expire_unstarted(log, new.id) == "expired"
    assert await expire_unstarted(log, begun.id) == "begun"
    assert await expire_unstarted(log, "nobody") == "gone"
    job = (await check(log, new)).job
    assert (job.status, job.error and job.error.code) == (Status.EXPIRED, "start_timeout")
    assert await waiting_deliveries(redis) == [f"{begun.id}.2"]


async def test_a_job_expires_by_the_clock_of_redis(log: JobLog, redis: Redis) -> None:
    """Whoever asks too early, because its own clock is ahead, is told so."""
    now, later = await created(log), await created(log, delay_ms=3_600_000)
    assert await expire_unstarted(log, now.id, patience_seconds=60) == "early"
    assert await expire_unstarted(log, later.id) == "early"
    assert {(await check(log, new)).job.status for new in (now, later)} == {Status.QUEUED, Status.SCHEDULED}


@pytest.mark.parametrize("claim_it", [True, False])
async def test_an_end_that_redis_forgot_is_given_back(log: JobLog, redis: Redis, claim_it: bool) -> None:
    """The job ends as it had, in another epoch; who runs it again is refused, and nobody will."""
    new = await created(log, max_attempts=3)
    before = await log.read(new.id)
    reports = log.reports(await claimed(log, redis, new.id)) if claim_it else None
    error = JobError(code="exception", message="It broke.", attempt=2)
    ended = replace(before.job, status=Status.FAILED, done=True, attempt=2, progress=HALF, error=error)
    assert await settle(log, ended) == "settled"
    view = await log.read(new.id)
    assert (view.job.status, view.job.attempt, view.job.error) == (Status.FAILED, 2, error)
    assert view.cursor.epoch != before.cursor.epoch
    assert [event.type for event in await history(log, new.id)][-1] == "end"
    if reports is not None:
        assert await said(log, reports.progress(HALF), reports.renew(12_000)) == ["refused", "refused"]
    assert (await take(log, "w2")).claims == ()
    assert await settle(log, ended) == "done"
    assert await settle(log, replace(ended, id="nobody")) == "gone"


async def test_a_large_result_is_given_back_too(log: JobLog, redis: Redis) -> None:
    """Whole, beside the event."""
    new = await created(log)
    ended = replace((await log.read(new.id)).job, status=Status.SUCCEEDED, done=True)
    assert await settle(log, ended, '"' + "x" * 20_000 + '"') == "settled"
    assert (await log.read(new.id)).job.result_omitted
    assert await log.result(new.id) == b'"' + b"x" * 20_000 + b'"'


async def test_only_finished_jobs_are_forgotten(log: JobLog, redis: Redis) -> None:
    """A job may wait or run for as long as it takes; an ended one stays for the retention."""
    new = await created(log)
    one = await claimed(log, redis, new.id)
    keys = [key async for key in redis.scan_iter(f"mp:{{{new.id}}}:*")]
    assert {await redis.pttl(key) for key in keys} == {-1}
    await said(log, log.reports(one).end(Status.SUCCEEDED, HALF, result=json.dumps("x" * 10_000)))
    keys = [key async for key in redis.scan_iter(f"mp:{{{new.id}}}:*")]
    assert len(keys) == 3
    for key in keys:
        assert 590_000 < await redis.pttl(key) <= 600_000
    assert (await log.read(new.id)).job.expires_at is not None


async def test_a_job_that_is_not_there_is_said_so(log: JobLog) -> None:
    """Never created, or forgotten: reading raises, asking for its place or result gives nothing."""
    with pytest.raises(JobNotFound):
        await log.read("nobody")
    with pytest.raises(JobNotFound):
        await log.cancel("nobody")
    assert await log.positions(["nobody"]) == [None]
    assert (await log.result("nobody"), await log.traceback("nobody")) == (None, None)
    assert await log.redeliver("nobody") == "gone"


async def test_a_traceback_is_kept_for_operators_only(log: JobLog, redis: Redis) -> None:
    """Neither the history nor the job shows it."""
    new = await created(log)
    error = type(BROKEN)(code="exception", message="no", traceback="Traceback: secret")
    await said(log, log.reports(await claimed(log, redis, new.id)).end(Status.FAILED, HALF, error=error))
    view = await check(log, new)
    assert await log.traceback(new.id) == "Traceback: secret"
    assert view.job.error is not None
    assert view.job.error.traceback is None


async def test_a_bad_report_costs_nothing(log: JobLog, redis: Redis) -> None:
    """NaN, or more than an event holds: a sentence for the task, and the next report is taken."""
    new = await created(log)
    reports = log.reports(await claimed(log, redis, new.id))
    with pytest.raises(BadReport, match="finite"):
        reports.progress(Progress(percent=float("nan")))
    with pytest.raises(BadReport, match="store the data elsewhere"):
        reports.output(0, "x" * 9_000_000)
    assert await said(log, reports.progress(HALF)) == ["ok"]
    view = await check(log, new)
    assert await state_of(redis, new.id, "reports") == "1"
    assert await log.positions([new.id]) == [(view.cursor.epoch, 3, False)]
