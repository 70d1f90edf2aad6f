"""Workers, connections and servers that go away: no job is lost, none is run by two, all end."""

from __future__ import annotations

import asyncio
import signal
import time
from datetime import datetime
from itertools import pairwise
from pathlib import Path

import pytest
from redis.asyncio import Redis

from milepost.job import ErrorCode, Status
from milepost.redis import connect
from tests.support.proxy import TcpProxy
from tests.support.redis import RedisServer
from tests.support.wait import eventually
from tests.support.workers import LEASE_SECONDS, TASKS, Fleet


async def test_a_blocked_event_loop_is_not_a_dead_worker(fleet: Fleet) -> None:
    """Heartbeats and progress come from a thread: the lease is kept for far longer than it lasts."""
    await fleet.worker()
    marks = fleet.file()
    async with fleet.caretaker():
        job = await fleet.run("t.block", {"seconds": LEASE_SECONDS * 2, "marks": str(marks)}, max_attempts=3)
    assert (job.status, job.attempt) == (Status.SUCCEEDED, 1)
    events = await fleet.events(job.id)
    assert not [one for one in events if one["type"] == "stalled"]
    told = [datetime.fromisoformat(one["at"]) for one in events if one["type"] == "progress"]
    assert len(told) > 10
    assert max((b - a).total_seconds() for a, b in pairwise(told)) < LEASE_SECONDS


async def test_a_killed_workers_job_is_run_by_another(fleet: Fleet) -> None:
    """Readers are told `stalled` first, then of another attempt, then of the end."""
    first = await fleet.worker()
    marks, go = fleet.file(), fleet.file()
    job_id = await fleet.submit("t.wait_for_file", {"marks": str(marks), "go": str(go)}, max_attempts=2)
    await fleet.running(job_id, marks)
    second = await fleet.worker()
    first.kill()
    go.touch()
    async with fleet.caretaker():
        job = await fleet.ended(job_id)
    assert (job.status, job.attempt, job.result) == (Status.SUCCEEDED, 2, f"pid {second.pid}")
    assert await fleet.statuses(job_id) == [
        ("queued", 0),
        ("running", 1),
        ("retrying", 1),
        ("running", 2),
        ("succeeded", 2),
    ]
    told = [one["type"] for one in await fleet.events(job_id) if one["type"] != "progress"]
    assert told == ["status", "status", "stalled", "status", "status", "end"]
    assert fleet.ran(marks) == [first.pid, second.pid]
    assert await fleet.leftovers() == []


async def test_a_killed_workers_job_fails_when_no_attempt_is_left(fleet: Fleet) -> None:
    """With `worker_lost`, and nothing stays of its delivery."""
    worker = await fleet.worker()
    marks = fleet.file()
    job_id = await fleet.submit("t.sleep", {"marks": str(marks)})
    await fleet.running(job_id, marks)
    await fleet.until(job_id, lambda job: job.progress.percent == 10, "has reported")
    worker.kill()
    async with fleet.caretaker():
        job = await fleet.ended(job_id)
    assert job.error is not None
    assert (job.status, job.error.code, job.progress.percent) == (Status.FAILED, ErrorCode.WORKER_LOST, 10)
    assert await fleet.leftovers() == []


@pytest.mark.parametrize("task", ["t.loop", "t.wait_for_file"])
async def test_nothing_is_accepted_from_a_worker_that_wakes_up_after_its_lease(
    fleet: Fleet, task: str
) -> None:
    """Stopped and continued, it finds that another attempt has the job, and stops its own."""
    zombie = await fleet.worker()
    marks, go = fleet.file(), fleet.file()
    params = {"marks": str(marks)} | ({"go": str(go)} if task == "t.wait_for_file" else {})
    job_id = await fleet.submit(task, params, max_attempts=2)
    await fleet.running(job_id, marks)
    zombie.pause()
    async with fleet.caretaker():
        await fleet.until(job_id, lambda job: job.status == "retrying", "is taken from it")
        heir = await fleet.worker()
        await fleet.until(job_id, lambda job: job.attempt == 2 and job.progress.current, "runs elsewhere")
        zombie.resume()
        await eventually(lambda: "verdict=nothing" in zombie.output(), "the zombie has given up")
        seen = (await fleet.job(job_id)).version
        await fleet.until(job_id, lambda job: job.version > seen + 1, "goes on")
        if task == "t.wait_for_file":
            go.touch()
        else:
            await fleet.log.cancel(job_id)
        job = await fleet.ended(job_id)
    assert job.attempt == 2
    assert fleet.ran(marks) == [zombie.pid, heir.pid]
    events = await fleet.events(job_id)
    at = next(one["seq"] for one in events if one.get("status") == "retrying")
    assert {one.get("attempt", 2) for one in events if one["seq"] > at} == {2}
    assert (await fleet.run("t.add", {"a": 1})).result == 3
    assert "courier.bug" not in zombie.output()
    assert await fleet.leftovers() == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
async def test_redis_restarts_in_the_midst_of_a_job(
    fleet: Fleet, redis_server: RedisServer, number: int
) -> None:
    """The worker lives, the job goes on, and later jobs are picked up."""
    worker = await fleet.worker(lease_seconds=5, silence_seconds=2)
    marks, go = fleet.file(), fleet.file()
    job_id = await fleet.submit("t.wait_for_file", {"marks": str(marks), "go": str(go)})
    await fleet.running(job_id, marks)
    before = (await fleet.job(job_id)).version
    redis_server.restart(number)
    await fleet.until(job_id, lambda job: job.version > before + 2, "goes on")
    go.touch()
    job = await fleet.ended(job_id)
    assert (job.status, job.attempt) == (Status.SUCCEEDED, 1)
    assert (await fleet.run("t.add", {"a": 1})).result == 3
    worker.check_alive()
    assert await fleet.leftovers() == []


async def test_many_restarts_of_redis_cost_no_slot(fleet: Fleet, redis_server: RedisServer) -> None:
    """A worker with one slot still has it after every interruption."""
    worker = await fleet.worker(concurrency=1)
    for n in range(5):
        jobs = [await fleet.submit("t.add", {"a": n}) for _ in range(3)]
        redis_server.restart(signal.SIGKILL)
        async with fleet.caretaker():
            for job_id in jobs:
                await fleet.until(job_id, lambda job: job.done, "ends")
    assert (await fleet.run("t.add", {"a": 1})).result == 3
    worker.check_alive()


async def test_a_task_ends_while_redis_is_away(fleet: Fleet, redis_server: RedisServer) -> None:
    """Its end waits for Redis and is told when it is back."""
    await fleet.worker(lease_seconds=10, silence_seconds=5)
    marks, go = fleet.file(), fleet.file()
    job_id = await fleet.submit("t.deaf", {"marks": str(marks), "go": str(go)})
    await fleet.running(job_id, marks)
    redis_server.stop()
    go.touch()
    await eventually(lambda: fleet.ran(marks, "unhindered"), "the task has returned")
    redis_server.start()
    job = await fleet.ended(job_id)
    assert (job.status, job.attempt, job.result) == (Status.SUCCEEDED, 1, "too late")
    await fleet.events(job_id)


@pytest.mark.parametrize(("option", "value"), [("maxmemory", "1"), ("min-replicas-to-write", "1")])
async def test_reports_wait_while_redis_refuses_to_write(
    fleet: Fleet, redis: Redis, option: str, value: str
) -> None:
    """A full Redis is not an answer to a report: nothing is dropped, and the job ends once there is room."""
    worker = await fleet.worker(lease_seconds=30, silence_seconds=20)
    go = fleet.file()
    job_id = await fleet.submit("t.talk", {"lines": 5, "go": str(go)})
    await fleet.until(job_id, lambda job: job.progress.total == 5, "has reported")
    await redis.config_set(option, value)
    try:
        go.touch()
        await eventually(lambda: "courier.redis_trouble" in worker.output(), "Redis refuses")
    finally:
        await redis.config_set(option, "0")
    assert (await fleet.ended(job_id)).status == Status.SUCCEEDED
    assert [one["data"]["n"] for one in await fleet.events(job_id) if one["type"] == "output"] == list(
        range(5)
    )


async def proxy_has_cut(proxy: TcpProxy, times: int) -> None:
    before = proxy.connections
    await eventually(lambda: proxy.connections > before + times, "connections break")


async def test_a_claim_whose_answer_is_lost_is_run_exactly_once(fleet: Fleet) -> None:
    """The worker asks again and is told the same; nobody runs it twice, and no attempt is used up."""
    async with TcpProxy(fleet.url) as proxy:
        worker = await fleet.worker(url=proxy.url)
        marks = fleet.file()
        for n in range(10):
            # Every connection breaks after a few more bytes of replies: in the pick-up, in the claim, in the reports.
            proxy.cut_after(60 + 37 * n)
            proxy.drop_all()
            job_id = await fleet.submit("t.thread", {"day": "2026-01-01", "marks": str(marks)})
            await proxy_has_cut(proxy, 3)
            proxy.cut_after(None)
            proxy.drop_all()
            job = await fleet.ended(job_id)
            assert (job.status, job.attempt) == (Status.SUCCEEDED, 1)
            assert len(fleet.ran(marks)) == n + 1
            await fleet.events(job_id)
        worker.check_alive()
    assert await fleet.leftovers() == []


async def test_a_claims_reply_that_is_dropped_leaves_the_job_to_its_worker(fleet: Fleet) -> None:
    """The claim happens behind a network that swallows its answer: the job is running, and then runs."""
    async with TcpProxy(fleet.url) as proxy:
        await fleet.worker(url=proxy.url, lease_seconds=30, silence_seconds=20, poll_seconds=60)
        marks = fleet.file()
        job_id = await fleet.submit("t.thread", {"day": "2026-01-01", "marks": str(marks)})
        while (await fleet.job(job_id)).status != "running":
            pass  # at once: the worker must not hear of it
        proxy.drop_all()
        job = await fleet.ended(job_id)
    assert (job.status, job.attempt) == (Status.SUCCEEDED, 1)
    assert len(fleet.ran(marks)) == 1


async def test_a_silent_network_is_an_interruption(fleet: Fleet) -> None:
    """Packets vanish and nobody says so: the worker's commands time out, and it goes on afterwards."""
    async with TcpProxy(fleet.url) as proxy:
        worker = await fleet.worker(url=proxy.url, lease_seconds=60, silence_seconds=50)
        marks, go = fleet.file(), fleet.file()
        job_id = await fleet.submit("t.wait_for_file", {"marks": str(marks), "go": str(go)})
        await fleet.running(job_id, marks)
        proxy.blackhole()
        await eventually(lambda: "redis_trouble" in worker.output(), "commands time out", deadline=60)
        proxy.restore()
        go.touch()
        assert (await fleet.ended(job_id)).status == Status.SUCCEEDED
        assert (await fleet.run("t.add", {"a": 1})).result == 3


async def test_an_unknown_task_waits_for_a_worker_that_knows_it(fleet: Fleet) -> None:
    """A deploy under way: the job is neither failed nor lost, and uses no attempt; the old worker goes on."""
    await fleet.worker()
    job_id = await fleet.submit("t.new")
    for _ in range(20):
        assert (await fleet.ended(await fleet.submit("t.add", {"a": 1, "b": 2}))).status == Status.SUCCEEDED
    assert [event["type"] for event in await fleet.events(job_id)] == ["status"]
    await fleet.worker(TASKS, "tests.support.tasks.newer")
    job = await fleet.ended(job_id)
    assert (job.status, job.result, job.attempt) == (Status.SUCCEEDED, "known", 1)
    assert await fleet.leftovers() == []


async def test_two_workers_share_a_queue_and_no_job_runs_twice(fleet: Fleet) -> None:
    """Both take part."""
    await asyncio.gather(fleet.worker(concurrency=2), fleet.worker(concurrency=2))
    marks = fleet.file()
    jobs = [await fleet.submit("t.sleep", {"marks": str(marks), "seconds": 0.02}) for _ in range(100)]
    for job_id in jobs:
        assert (await fleet.ended(job_id)).status == Status.SUCCEEDED
    assert len(fleet.ran(marks)) == 100
    assert set(fleet.ran(marks)) == {worker.pid for worker in fleet.workers}
    assert await fleet.leftovers() == []


async def test_urgent_jobs_first_and_the_first_queue_before_the_second(fleet: Fleet) -> None:
    """Higher priority goes first, among equals the older; queues in the order they were named."""
    order = [
        ("slow", 0, "e"),
        ("default", 0, "c"),
        ("default", 5, "a"),
        ("default", 0, "d"),
        ("default", 5, "b"),
    ]
    marks = fleet.file()
    ids: dict[str, str] = {}
    for queue, priority, name in order:
        params = {"marks": str(marks), "seconds": 0.01}
        ids[await fleet.submit("t.sleep", params, queue=queue, priority=priority)] = name
        await asyncio.sleep(0.002)  # arq orders by the millisecond
    await fleet.worker(concurrency=1, queues="default,slow")
    begun: dict[str, str] = {}
    for job_id, name in ids.items():
        begun[name] = (await fleet.ended(job_id)).started_at or ""
    assert sorted(begun, key=lambda name: begun[name]) == list("abcde")


async def both_run(fleet: Fleet, marks: Path) -> None:
    await eventually(lambda: len(fleet.ran(marks)) == 2, "both run", deadline=20)


async def test_every_free_slot_is_used_without_waiting_for_a_poll(fleet: Fleet) -> None:
    """Two jobs at almost the same moment run side by side, though the claim of the first is still under way."""
    await fleet.worker(concurrency=2, poll_seconds=60)
    for _ in range(20):
        marks, go = fleet.file(), fleet.file()
        params = {"marks": str(marks), "go": str(go)}
        jobs = await asyncio.gather(*(fleet.submit("t.wait_for_file", params) for _ in range(2)))
        await both_run(fleet, marks)
        go.touch()
        for job_id in jobs:
            await fleet.ended(job_id)


async def test_a_full_worker_does_not_hold_up_the_others(fleet: Fleet) -> None:
    """Running jobs do not stand in the queue: the next one is found at once by who has a free slot."""
    await fleet.worker(concurrency=1)
    marks, go = fleet.file(), fleet.file()
    long = await fleet.submit("t.wait_for_file", {"marks": str(marks), "go": str(go)})
    await fleet.running(long, marks)
    await fleet.worker(concurrency=1)
    started = time.monotonic()
    assert (await fleet.run("t.add", {"a": 1})).result == 3
    assert time.monotonic() - started < 20
    go.touch()
    await fleet.ended(long)


async def test_a_worker_may_be_given_the_job_that_it_still_runs(tmp_path: Path) -> None:
    """Redis comes back without the claim, and its only worker takes the job again: only that run counts."""
    with RedisServer(tmp_path / "redis", appendonly=False) as server:
        redis = connect(server.url)
        fleet = Fleet(redis, server.url, tmp_path)
        marks, go = fleet.file(), fleet.file()
        job_id = await fleet.submit("t.wait_for_file", {"marks": str(marks), "go": str(go)}, max_attempts=1)
        await redis.save()
        worker = await fleet.worker()
        try:
            await fleet.running(job_id, marks)
            server.restart(signal.SIGKILL)
            async with fleet.caretaker():
                await eventually(lambda: len(fleet.ran(marks)) == 2, "it was taken again")
                go.touch()
                job = await fleet.ended(job_id)
        finally:
            worker.kill()
        assert (job.status, job.attempt, job.result) == (Status.SUCCEEDED, 1, f"pid {worker.pid}")
        assert await fleet.statuses(job_id) == [("queued", 0), ("running", 1), ("succeeded", 1)]
        await redis.aclose()
