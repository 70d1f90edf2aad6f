"""A memory that may have lost something is another generation: histories branch, and readers hear of what is gone."""

from __future__ import annotations

import asyncio
import gc
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from redis.asyncio import Redis

from milepost.codec import Cursor
from milepost.job import Progress, Status
from milepost.log import JobLog
from milepost.log.generation import MARK
from milepost.log.keys import GENERATION
from milepost.log.scripts import SCRIPTS, Loaded
from milepost.redis import connect
from tests.support.joblog import HALF, check, claimed, created, history, said, take
from tests.support.redis import RedisServer
from tests.support.wait import eventually

pytestmark = pytest.mark.anyio


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RedisServer]:
    """A server that forgets at a kill what SAVE has not written."""
    with RedisServer(tmp_path / "redis", appendonly=False) as running:
        yield running


async def test_a_number_is_never_given_twice_in_one_epoch(server: RedisServer) -> None:
    """Redis loses a claim and two reports; another worker gets as far. Who saw the first run must hear of it."""
    redis = connect(server.url)
    log = JobLog(redis)
    job = await created(log)
    await redis.save()
    first = log.reports(await claimed(log, redis, job.id, "w1"))
    await said(log, first.progress(HALF), first.progress(HALF))
    seen = (await log.read(job.id)).cursor
    server.restart(signal.SIGKILL)
    second = log.reports(await claimed(log, redis, job.id, "w2"))
    await said(log, second.progress(HALF), second.progress(HALF), second.progress(HALF))
    view = await log.read(job.id, seen)
    assert view.cursor.seq > seen.seq
    assert (view.gap, view.cursor.epoch == seen.epoch) == ("epoch", False)
    await redis.aclose()


async def test_who_saw_nothing_of_what_is_lost_goes_on(server: RedisServer) -> None:
    """The history branches where Redis came back: cursors up to there are good, and nobody hears of a gap."""
    redis = connect(server.url)
    log = JobLog(redis)
    job = await created(log)
    reports = log.reports(await claimed(log, redis, job.id))
    level = (await log.read(job.id)).cursor
    await redis.save()
    await said(log, reports.progress(Progress(current=1)))
    ahead = (await log.read(job.id)).cursor
    server.restart(signal.SIGKILL)
    await said(log, reports.progress(Progress(current=2)), reports.end(Status.SUCCEEDED, HALF))
    view = await log.read(job.id, level)
    assert (view.gap, [entry.seq for entry in view.entries]) == (None, [3, 4])
    assert {entry.cursor.epoch for entry in view.entries} == {view.cursor.epoch} != {level.epoch}
    assert [entry.cursor for entry in (await log.read(job.id, Cursor(level.epoch, 0))).entries[:2]] == [
        Cursor(level.epoch, 1),
        level,
    ]
    assert (await log.read(job.id, ahead)).gap == "epoch"
    await check(log, job)
    await redis.aclose()


async def test_a_restart_that_loses_nothing_costs_no_reader_anything(
    redis_server: RedisServer, redis: Redis
) -> None:
    """However often it happens: the cursors of the last four epochs are good."""
    log = JobLog(redis)
    job = await created(log)
    reports = log.reports(await claimed(log, redis, job.id))
    seen: list[Cursor] = []
    for _ in range(5):
        seen.append((await log.read(job.id)).cursor)
        redis_server.restart()
        await said(log, reports.progress(HALF))
    assert [(await log.read(job.id, cursor)).gap for cursor in seen] == ["epoch", None, None, None, None]
    assert len({cursor.epoch for cursor in seen}) == 5
    await check(log, job)


async def test_a_flush_of_the_scripts_is_no_loss(redis: Redis) -> None:
    """What is forgotten there are only texts; but nobody can know, so the history branches without a gap."""
    log = JobLog(redis)
    job = await created(log)
    reports = log.reports(await claimed(log, redis, job.id))
    seen = (await log.read(job.id)).cursor
    await redis.script_flush()
    await said(log, reports.progress(HALF), reports.end(Status.SUCCEEDED, HALF))
    assert (await log.read(job.id, seen)).gap is None
    await check(log, job)


async def test_another_version_of_the_scripts_is_no_other_memory(redis: Redis) -> None:
    """A newer Milepost loads its own texts beside the old ones, in the same generation."""
    log = JobLog(redis)
    job = await created(log)
    before = await redis.get(GENERATION)
    await redis.script_flush()
    await redis.script_load(MARK.of(before.decode()).source)  # all that both versions share
    assert (await take(log)).claims[0].job_id == job.id
    assert await redis.get(GENERATION) == before
    assert len({event.cursor.split("-")[0] for event in await history(log, job.id)}) == 1


async def test_a_server_that_had_our_scripts_before_is_not_trusted_when_it_is_back(tmp_path: Path) -> None:
    """A, then B, then A again: A still knows the scripts of its time, and has B's data without B's last events."""
    with RedisServer(tmp_path / "a") as a, RedisServer(tmp_path / "b", replicaof=f"127.0.0.1 {a.port}") as b:
        at_a, at_b = connect(a.url), connect(b.url)
        log_a, log_b = JobLog(at_a), JobLog(at_b)
        job = await created(log_a)
        reports = log_a.reports(await claimed(log_a, at_a, job.id))
        await eventually(lambda: at_a.wait(1, 1000), "the replica has it all")
        await at_b.execute_command("REPLICAOF", "NO", "ONE")
        await said(log_b, reports.progress(HALF))
        of_b = (await log_b.read(job.id)).cursor
        await at_a.execute_command("REPLICAOF", "127.0.0.1", str(b.port))
        await eventually(lambda: at_b.wait(1, 1000), "the old master has it all")
        await at_a.execute_command("REPLICAOF", "NO", "ONE")
        await said(log_a, reports.progress(HALF))
        last = (await log_a.read(job.id, of_b)).cursor
        assert len({last.epoch, of_b.epoch}) == 2
        assert (await log_a.read(job.id, Cursor(of_b.epoch, of_b.seq + 1))).gap == "epoch"
        await at_a.aclose()
        await at_b.aclose()


async def test_many_who_meet_a_new_memory_agree(redis_server: RedisServer) -> None:
    """Twenty processes find no scripts at the same moment: they begin one generation, and all calls are made."""
    clients = [connect(redis_server.url) for _ in range(20)]
    logs = [JobLog(client) for client in clients]
    await asyncio.gather(*(created(log) for log in logs))
    first = await clients[0].get(GENERATION)
    redis_server.restart()
    jobs = await asyncio.gather(*(created(log) for log in logs))
    assert await clients[0].get(GENERATION) not in (None, first)
    for log, job in zip(logs, jobs, strict=True):
        await check(log, job)
    for client in clients:
        await client.aclose()


@pytest.mark.parametrize("lost", ["server", "scripts"])
async def test_calls_that_meet_a_new_memory_together_load_the_scripts_once(
    redis_server: RedisServer, redis: Redis, lost: str
) -> None:
    """A server that has just taken over is not sent all scripts by each of a hundred calls of one process."""
    log = JobLog(redis)
    await created(log)
    if lost == "server":
        redis_server.restart()
    else:
        await redis.script_flush()
    await redis.config_resetstat()
    await asyncio.gather(*(created(log) for _ in range(100)))
    loads = (await redis.info("commandstats"))["cmdstat_script|load"]["calls"]
    assert loads <= len(SCRIPTS) + 2  # the mark, and what names the generation


def test_the_texts_of_generations_that_are_over_are_let_go() -> None:
    """A process that outlives any number of failovers holds the scripts of the last few, and those whole."""
    for number in range(50):
        for script in SCRIPTS.values():
            assert script.of(f"g{number}") is script.of(f"g{number}")
    of_one = sum(len(script.of("g0").source) for script in SCRIPTS.values())
    held = [one for one in gc.get_objects() if isinstance(one, Loaded)]
    assert sum(len(one.source) for one in held) < 8 * of_one
