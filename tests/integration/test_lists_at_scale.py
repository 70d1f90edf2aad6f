"""No question about jobs reads all of them: a million, on both databases, and the work is counted, not timed."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from functools import partial
from typing import Any

import pytest
from milepost_api.records import COUNTED_MOST, Engines, JobFilter, JobStore, open_engines

from milepost.job import Status
from tests.support import million
from tests.support.plans import Work, work_of
from tests.support.postgres import new_database

pytestmark = [pytest.mark.anyio, pytest.mark.slow, pytest.mark.timeout(600)]

PAGE = 51
"""Jobs of a page of the API, and one more."""


def at(part: float) -> datetime:
    """Return when that part of the million had been accepted."""
    return datetime.fromtimestamp(million.BEGAN + 2 * million.JOBS * part, UTC)


MIDDLE = round(at(0.5).timestamp() * 1e6)
LISTS: dict[str, dict[str, Any]] = {
    "all": {},
    "status": {"statuses": ("failed",)},
    "statuses": {"statuses": ("queued", "failed", "succeeded")},
    "open": {"statuses": ("scheduled", "queued", "running", "retrying")},
    "task": {"task": "task-7"},
    "queue": {"queue": "queue-3"},
    "tag": {"tag": "nightly"},
    "rare tag": {"tag": "user:7"},
    "batch": {"batch": million.SMALL_BATCH},
    "large batch": {"batch": million.LARGE_BATCH},
    "created": {"created_after": at(0.1), "created_before": at(0.2)},
    "tenant": {"tenant": "small"},
    "status, task": {"statuses": ("failed",), "task": "task-7"},
    "status, task: none": {"statuses": ("failed",), "task": million.FAITHFUL},
    "status, queue": {"statuses": ("failed",), "queue": "queue-3"},
    "task, queue": {"task": "task-7", "queue": "queue-3"},
    "task, queue: none": {"task": "task-1", "queue": "queue-1"},
    "status, task, queue": {"statuses": ("failed", "expired"), "task": "task-7", "queue": "queue-3"},
    "status, tag": {"statuses": ("queued",), "tag": "user:7"},
    "status, tag: none": {"statuses": ("failed",), "tag": "nightly"},
    "task, tag": {"task": "task-7", "tag": "user:7"},
    "task, tag: none": {"task": "task-7", "tag": "nightly"},
    "queue, tag": {"queue": "queue-3", "tag": "nightly"},
    "status, task, queue, tag": {
        "statuses": ("succeeded",),
        "task": "task-3",
        "queue": "queue-3",
        "tag": "nightly",
    },
    "status, batch": {"statuses": ("failed",), "batch": million.LARGE_BATCH},
    "status, batch: none": {"statuses": ("failed",), "batch": million.SMALL_BATCH},
    "task, batch": {"task": "task-15", "batch": million.LARGE_BATCH},
    "task, batch: none": {"task": million.FAITHFUL, "batch": million.LARGE_BATCH},
    "queue, batch": {"queue": "queue-3", "batch": million.LARGE_BATCH},
    "tag, batch": {"tag": "user:7", "batch": million.SMALL_BATCH},
    "created, status": {"statuses": ("failed",), "created_before": at(0.2)},
    "created, task": {"task": "task-7", "created_before": at(0.2)},
    "created, queue": {"queue": "queue-3", "created_after": at(0.2), "created_before": at(0.2001)},
    "created, tag": {"tag": "nightly", "created_before": at(0.2)},
    "created, batch": {"batch": million.LARGE_BATCH, "created_before": at(0.2)},
    "created: none": {"statuses": ("failed",), "task": "task-7", "created_after": at(1.1)},
    "common text": {"text": "imported"},
    "rare text": {"text": "needle in the hay"},
    "text of long ago": {"text": "old importer"},
    "text: none": {"text": "no such thing"},
    "text, an id": {"text": "job-0654321"},
    "text, status": {"text": "row 654", "statuses": ("failed",)},
    "text, status: none": {"text": "imported", "statuses": ("failed",)},
    "text, task": {"text": "needle", "task": "task-42"},
    "text, queue": {"text": "needle", "queue": "queue-3"},
    "text, tag": {"text": "imported", "tag": "user:7"},
    "text, batch": {"text": "is broken", "batch": million.LARGE_BATCH},
    "text, created": {"text": "needle", "created_before": at(0.2)},
    "text, created: none": {"text": "needle", "created_after": at(0.2)},
    "text, tenant": {"text": "needle", "tenant": "small"},
}


ASKED_ALL_DAY: dict[str, Callable[[JobStore], Awaitable[object]]] = {
    "undispatched": lambda store: store.undispatched(created_before=at(2), limit=500),
    "open jobs": lambda store: store.open_jobs(after_id="", limit=500),
    "start overdue": lambda store: store.start_overdue(at(2), limit=100),
    "queues": lambda store: store.queues(at(2)),
    "by key": lambda store: store.by_key("default", "key"),
    "get": lambda store: store.get("job-0654321"),
}
ROWS = 10_000
STEPS = 500_000
"""Of SQLite's machine: some five for a row of an index. To read all jobs takes it millions."""


@pytest.fixture(scope="module", params=["sqlite", "postgres"])
async def engines(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Engines]:
    async with AsyncExitStack() as stack:
        if request.param == "sqlite":
            url = f"sqlite+aiosqlite:///{tmp_path_factory.mktemp('million')}/jobs.db"
        else:
            server: str = request.getfixturevalue("postgres_server")
            url = await stack.enter_async_context(new_database(server))
        opened = await stack.enter_async_context(open_engines(url, patient=True))
        await million.fill(opened)
        yield opened


@pytest.mark.parametrize("wanted", LISTS.values(), ids=LISTS)
async def test_a_list_reads_little_more_than_it_shows(engines: Engines, wanted: dict[str, Any]) -> None:
    """First page, last page and one from the middle, whatever is asked for, many found or none."""
    store = JobStore(engines)
    for place in ({}, {"oldest_first": True}, {"after": MIDDLE}):
        sought = JobFilter(**wanted, **place)
        for limit in (2, PAGE):  # who wants few rows tempts a planner to look for them in order
            for work in await work_of(engines, partial(store.page, sought, limit=limit)):
                check(work, ROWS)


@pytest.mark.parametrize("wanted", LISTS.values(), ids=LISTS)
async def test_counting_stops_at_its_cap(engines: Engines, wanted: dict[str, Any]) -> None:
    """Of every status so many are counted and no more: a count costs the same in a year."""
    sought = JobFilter(**wanted)
    for work in await work_of(engines, partial(JobStore(engines).counts, sought)):
        check(work, (COUNTED_MOST + 1) * len(sought.statuses or Status))


@pytest.mark.parametrize("ask", ASKED_ALL_DAY.values(), ids=ASKED_ALL_DAY)
async def test_what_is_asked_all_day_reads_little(
    engines: Engines, ask: Callable[[JobStore], Awaitable[object]]
) -> None:
    """The dispatcher, the caretaker and submissions do not read what is done."""
    for work in await work_of(engines, partial(ask, JobStore(engines))):
        check(work, ROWS)


async def test_the_lists_are_what_they_should_be(engines: Engines) -> None:
    """An index that is not asked correctly is quick, too: some answers are compared with what was put in."""
    store = JobStore(engines)

    async def ids(**wanted: Any) -> list[str]:
        return [one.id for one in await store.page(JobFilter(**wanted), limit=3)]

    assert await ids() == ["job-1000000", "job-0999999", "job-0999998"]
    assert await ids(oldest_first=True) == ["job-0000001", "job-0000002", "job-0000003"]
    assert await ids(after=MIDDLE) == ["job-0499999", "job-0499998", "job-0499997"]
    assert await ids(tag="nightly") == ["job-0999993", "job-0999983", "job-0999973"]
    assert await ids(text="NEEDLE in") == ["job-0004242"]
    assert await ids(text="needle in", task="task-42", oldest_first=True) == ["job-0004242"]
    assert await ids(text="needle in", task="task-41") == []
    assert await ids(text="old importer") == ["job-0007999", "job-0007998", "job-0007997"]
    assert (await ids(text="old importer", oldest_first=True))[:1] == ["job-0004000"]
    assert await ids(statuses=("failed",), task=million.FAITHFUL) == []
    all_of_them = await store.counts(JobFilter())
    assert all_of_them.by_status["succeeded"] == COUNTED_MOST
    assert all_of_them.capped == {"succeeded", "failed", "cancelled"}
    assert (await store.counts(JobFilter(text="old importer"))).by_status.keys() >= {"succeeded", "failed"}
    needle = await store.counts(JobFilter(text="needle in"))
    assert (needle.by_status, needle.capped) == ({"succeeded": 1}, frozenset())


def check(work: Work, rows: int) -> None:
    assert not work.scanned, f"{work.scanned} are read whole: {work.statement}"
    assert work.rows <= (max(STEPS, 5 * rows) if work.is_sqlite else rows), work
