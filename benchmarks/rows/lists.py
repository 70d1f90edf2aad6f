"""Row about lists: a page and a count at a million jobs, for every kind of filter, on both databases, at the store."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from milepost_api.records import JobFilter, JobStore, open_engines

from benchmarks.bench import Bench
from benchmarks.report import Table
from tests.support import million
from tests.support.postgres import PostgresServer, new_database

JOBS, PAGE = million.JOBS, 51
ROUNDS = 40
LISTS: Mapping[str, Mapping[str, Any]] = {
    "all": {},
    "status": {"statuses": ("failed",)},
    "several statuses": {"statuses": ("queued", "failed", "succeeded")},
    "task": {"task": "task-7"},
    "queue": {"queue": "queue-3"},
    "tag": {"tag": "nightly"},
    "batch": {"batch": million.LARGE_BATCH},
    "status, task": {"statuses": ("failed",), "task": "task-7"},
    "status, task: none": {"statuses": ("failed",), "task": million.FAITHFUL},
    "status, tag: none": {"statuses": ("failed",), "tag": "nightly"},
    "common text": {"text": "imported"},
    "rare text, long ago": {"text": "needle in the hay"},
    "text, status: none": {"text": "imported", "statuses": ("failed",)},
    "text: none": {"text": "no such thing"},
}


@dataclass(frozen=True)
class Row:
    """Seconds that a page and a count of one filter take."""

    name: str
    page_p50: float
    page_p95: float
    count_p50: float
    count_p95: float


def measure(side: str, directory: str) -> list[Row]:
    """Fill a database with a million jobs, on `sqlite` or `postgresql`, and ask it everything in turn."""
    Path(directory).mkdir(parents=True, exist_ok=True)
    with _server(side, directory) as server:
        return asyncio.run(_measure(server, directory))


def show(bench: Bench) -> list[Table]:
    found = []
    for side in ("postgresql", "sqlite"):
        bench.say(f"lists on {side}: a million jobs are made first")
        lines = [
            (
                row.name,
                *(f"{one * 1e3:.1f}" for one in (row.page_p50, row.page_p95, row.count_p50, row.count_p95)),
            )
            for row in measure(side, str(bench.folder(f"lists-{side}")))
        ]
        title = f"lists of 50 among {JOBS:,} jobs, and counts, on {side}, at the store"
        columns = ("", "page p50 ms", "p95", "count p50 ms", "p95")
        found.append(Table(title, columns, lines))
    return found


@contextmanager
def _server(side: str, directory: str) -> Iterator[str | None]:
    if side == "sqlite":
        yield None
        return
    with PostgresServer(Path(directory)) as server:
        yield server.url


async def _measure(server: str | None, directory: str) -> list[Row]:
    if server is None:
        return await _rows(f"sqlite+aiosqlite:///{directory}/jobs.db")
    async with new_database(server) as url:
        return await _rows(url)


async def _rows(url: str) -> list[Row]:
    async with open_engines(url, patient=True) as engines:
        await million.fill(engines)
        store = JobStore(engines)
        return [await _row(store, name, JobFilter(**wanted)) for name, wanted in LISTS.items()]


async def _row(store: JobStore, name: str, wanted: JobFilter) -> Row:
    pages = await _times(partial(store.page, wanted, limit=PAGE))
    counts = await _times(partial(store.counts, wanted))
    return Row(name, *(times[int(len(times) * part)] for times in (pages, counts) for part in (0.5, 0.95)))


async def _times(ask: Callable[[], Awaitable[object]]) -> list[float]:
    await ask()
    times = []
    for _ in range(ROUNDS):
        began = time.perf_counter()
        await ask()
        times.append(time.perf_counter() - began)
    return sorted(times)
