"""Row about the recorder: how many lifecycle events a second one core moves from Redis into SQL."""

from __future__ import annotations

import asyncio
import os
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from milepost_api.recorder import Recorder
from milepost_api.records import JobRecord, JobStore, new_job, open_engines, schema
from redis.asyncio import Redis

from benchmarks.bench import Bench
from benchmarks.processes import CLIENT_CORE, SERVER_CORE, pin
from benchmarks.report import Table
from milepost.ids import new_job_id
from milepost.job import NO_PROGRESS, Status
from milepost.log import JobLog
from milepost.log.lifecycle import Lifecycle
from milepost.redis import connect
from milepost.times import utc_now
from tests.support.postgres import PostgresServer, new_database

JOBS = 5_000
EVENTS = 3 * JOBS  # queued, running, end
DATABASES = ("sqlite", "postgres")


@dataclass(frozen=True)
class Recorded:
    """`cpu` in seconds of this process, threads included; the servers have the other core."""

    database: str
    events: int
    seconds: float
    cpu: float
    recorded: int


def measure(database: str, url: str, directory: str) -> Recorded:
    """Record the lives of `JOBS` jobs that ended while no recorder ran: all of them wait when it begins."""
    return asyncio.run(_measure(database, url, directory))


def show(bench: Bench) -> list[Table]:
    lines = []
    for database in DATABASES:
        bench.say(f"the recorder, {database}")
        found = measure(database, bench.url, str(bench.folder("recorder")))
        lines.append(
            (
                found.database,
                f"{found.events / found.seconds:,.0f}",
                f"{found.cpu / found.events * 1e6:.0f}",
                f"{found.recorded:,} of {JOBS:,}",
            )
        )
    title = f"{EVENTS:,} lifecycle events that wait in Redis -> SQL, one recorder on one core"
    return [Table(title, ("", "events/s", "CPU us each", "ends recorded"), lines)]


async def _measure(database: str, url: str, directory: str) -> Recorded:
    async with connect(url) as redis, _database(database, directory) as store:
        await redis.flushall()
        await _play(store, JobLog(redis), redis)
        recorder = Recorder(Lifecycle(redis, "bench"), store, JobLog(redis))
        cores = os.sched_getaffinity(0)
        pin(SERVER_CORE)
        began, cpu = time.monotonic(), time.process_time()
        running = asyncio.create_task(recorder.run())
        while await redis.xlen("mp:lifecycle"):
            if running.done():
                running.result()
            await asyncio.sleep(0.02)
        seconds, cpu = time.monotonic() - began, time.process_time() - cpu
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running
        os.sched_setaffinity(0, cores)
        return Recorded(
            database, EVENTS, seconds, cpu, JOBS - len(await store.open_jobs(after_id="", limit=JOBS))
        )


@asynccontextmanager
async def _database(kind: str, directory: str) -> AsyncIterator[JobStore]:
    if kind == "sqlite":
        async with _store(f"sqlite+aiosqlite:///{directory}/records.db") as store:
            yield store
        return
    with tempfile.TemporaryDirectory() as folder, PostgresServer(Path(folder)) as server:
        async with new_database(server.url) as url, _store(url) as store:
            yield store


@asynccontextmanager
async def _store(url: str) -> AsyncIterator[JobStore]:
    async with open_engines(url) as engines:
        await schema.upgrade(engines)
        yield JobStore(engines)


async def _play(store: JobStore, joblog: JobLog, redis: Redis) -> None:
    for _ in range(JOBS // 100):
        records = [_record() for _ in range(100)]
        async with asyncio.TaskGroup() as group:
            for record in records:
                group.create_task(store.insert(record))
        for record in records:
            await joblog.create(new_job(record))
        taken = await joblog.take(
            ("default",), "w", 100, number=time.monotonic_ns(), lease_seconds=600, room={"bench": -1}
        )
        assert len(taken.claims) == 100
        for claim in taken.claims:
            reports = joblog.reports(claim)
            await joblog.call(reports.end(Status.SUCCEEDED, NO_PROGRESS, result='{"rows":12345}'))
    assert await redis.xlen("mp:lifecycle") == EVENTS
    pin(CLIENT_CORE)


def _record() -> JobRecord:
    now = utc_now()
    return JobRecord(
        id=new_job_id(),
        task="bench",
        params='{"url":"https://example.org/rows.csv"}',
        tags=["a"],
        created_at=now,
    )
