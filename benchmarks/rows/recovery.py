"""Row about a flush: how fast all open jobs come back to Redis, and for how long it is held up meanwhile."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

import structlog
from milepost_api.caretaker import Dispatcher
from milepost_api.records import JobRecord, JobStore, open_engines, schema
from redis.asyncio import Redis
from sqlalchemy.ext.asyncio import AsyncSession

from benchmarks.bench import Bench
from benchmarks.processes import SERVER_CORE, pinned
from benchmarks.report import Table
from milepost.ids import new_job_id
from milepost.job import Status
from milepost.log import JobLog
from milepost.log.lifecycle import Lifecycle
from milepost.redis import connect, connect_sync
from milepost.times import utc_now

JOBS = 20_000


@dataclass(frozen=True)
class Recovery:
    """Seconds; `cpu` of this process, `slowest` by Redis's own SLOWLOG, waits of another client's pings."""

    jobs: int
    seconds: float
    cpu: float
    slowest: float
    slowest_command: str
    median_wait: float
    longest_wait: float


def measure(url: str, directory: str) -> Recovery:
    """Flush a Redis under `JOBS` open jobs, a tenth of them running, and let the dispatcher do one round."""
    structlog.configure(processors=[lambda *_: _drop()])
    try:
        return asyncio.run(_measure(url, directory))
    finally:
        structlog.reset_defaults()


def show(bench: Bench) -> list[Table]:
    bench.say(f"{JOBS:,} open jobs after a flush")
    with pinned(SERVER_CORE):
        found = measure(bench.url, str(bench.folder("recovery")))
    line = (
        "milepost",
        f"{found.jobs:,}",
        f"{found.seconds:.1f}",
        f"{found.jobs / found.seconds:,.0f}",
        f"{found.cpu / found.jobs * 1e6:.0f}",
        f"{found.slowest * 1e3:.1f} ({found.slowest_command})",
        f"{found.median_wait * 1e3:.1f}",
        f"{found.longest_wait * 1e3:.1f}",
    )
    columns = ("", "jobs", "s", "jobs/s", "CPU us each", "Redis's slowest, ms", "others wait ms", "at most")
    return [Table(f"{JOBS:,} open jobs in SQLite, Redis flushed -> all are there again", columns, [line])]


def _drop() -> str:
    raise structlog.DropEvent


async def _measure(url: str, directory: str) -> Recovery:
    async with connect(url) as redis, open_engines(f"sqlite+aiosqlite:///{directory}/records.db") as engines:
        await schema.upgrade(engines)
        for start in range(0, JOBS, 1000):
            async with AsyncSession(engines.writer) as session, session.begin():
                session.add_all(_record(start + number) for number in range(1000))
        await redis.flushall()
        await redis.config_set("slowlog-log-slower-than", 500)
        await redis.slowlog_reset()
        dispatcher = Dispatcher(JobStore(engines), JobLog(redis), redis, Lifecycle(redis, "bench"))
        with _pinging(url) as waits:
            began, cpu = time.monotonic(), time.process_time()
            await dispatcher.round()
            seconds, cpu = time.monotonic() - began, time.process_time() - cpu
        slow = max(await redis.slowlog_get(1000), key=lambda entry: entry["duration"], default=None)
        waits.sort()
        return Recovery(
            jobs=await _there(redis),
            seconds=seconds,
            cpu=cpu,
            slowest=slow["duration"] / 1e6 if slow else 0.0,
            slowest_command=slow["command"][:16].decode(errors="replace") if slow else "none above 0.5 ms",
            median_wait=waits[len(waits) // 2],
            longest_wait=waits[-1],
        )


async def _there(redis: Redis) -> int:
    return int(await redis.zcard("mp:queue:default"))


@contextmanager
def _pinging(url: str) -> Iterator[list[float]]:
    waits: list[float] = []
    over = threading.Event()

    def ping() -> None:
        with connect_sync(url) as client:
            while not over.wait(0.005):
                began = time.perf_counter()
                client.ping()
                waits.append(time.perf_counter() - began)

    thread = threading.Thread(target=ping)
    thread.start()
    try:
        yield waits
    finally:
        over.set()
        thread.join()


def _record(number: int) -> JobRecord:
    created = utc_now() - timedelta(hours=1) + timedelta(microseconds=number)
    running = number % 10 == 0
    return JobRecord(
        id=new_job_id(),
        task="bench",
        params='{"url":"https://example.org/rows.csv"}',
        created_at=created,
        dispatched_at=created,
        max_attempts=3,
        status=Status.RUNNING if running else Status.QUEUED,
        attempt=int(running),
        sort_key=number,
    )
