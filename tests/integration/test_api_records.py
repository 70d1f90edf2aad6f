"""The records mean the same on SQLite and PostgreSQL, and so do their migrations."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from milepost_api.records import Engines, JobFilter, JobRecord, JobStore, KeyTaken, open_engines, schema
from milepost_api.records.revisions import Fitness
from sqlalchemy import text

from milepost.errors import SettingsError, StoreUnavailable
from milepost.times import utc_now
from tests.support.ports import free_port
from tests.support.wait import eventually

pytestmark = pytest.mark.anyio


def record(job_id: str, **fields: Any) -> JobRecord:
    given: dict[str, Any] = {"id": job_id, "task": "t", "params": "{}", "created_at": utc_now(), **fields}
    return JobRecord(**given)


async def test_migrations_lead_to_the_tables_in_code_and_back(engines: Engines) -> None:
    """Upgrading an empty database gives what the code says; downgrading leaves nothing."""
    assert (await schema.look(engines)).fitness == Fitness.EMPTY
    await schema.upgrade(engines)
    await schema.check(engines)
    assert (await schema.look(engines)).fitness == Fitness.CURRENT
    await schema.downgrade(engines, "base")
    assert (await schema.look(engines)).fitness == Fitness.EMPTY


async def test_migrations_keep_what_is_there(engines: Engines) -> None:
    """Jobs and their tags are the same after every step up and down, though tables were made anew."""
    await schema.upgrade(engines)
    store = JobStore(engines)
    await store.insert(record("a", tags=["kept"]))
    await schema.downgrade(engines, "0001")
    await schema.upgrade(engines)
    await schema.check(engines)
    found = await store.page(JobFilter(tag="kept"), limit=2)
    assert [(job.id, job.tags, job.tenant) for job in found] == [("a", ["kept"], "default")]
    assert found[0].cancel_requested is False


async def test_replicas_may_upgrade_at_the_same_time(database_url: str) -> None:
    """One does the work, the others wait and find it done."""

    async def replica() -> None:
        async with open_engines(database_url) as engines:
            await schema.upgrade(engines)

    await asyncio.gather(*(replica() for _ in range(4)))


async def test_an_old_schema_is_refused_with_the_command_to_run(engines: Engines) -> None:
    """Whoever reads the refusal knows what to type."""
    with pytest.raises(SettingsError, match="milepost db upgrade"):
        await schema.require_current(engines)
    await schema.upgrade(engines)
    await schema.require_current(engines)


async def test_moments_keep_their_zone(store: JobStore) -> None:
    """What goes in at +05:30 comes out as the same moment in UTC; a naive one is refused."""
    india = timezone(timedelta(hours=5, minutes=30))
    await store.insert(record("a", created_at=datetime(2026, 1, 2, 3, 4, 5, 678000, india)))
    found = await store.get("a")
    assert found is not None
    assert found.created_at == datetime(2026, 1, 1, 21, 34, 5, 678000, UTC)
    assert found.created_at.tzinfo is UTC
    with pytest.raises(Exception, match="no time zone"):
        await store.insert(record("b", created_at=datetime(2026, 1, 1)))  # noqa: DTZ001 - the point


async def test_json_columns_keep_every_text(store: JobStore) -> None:
    """NUL, which PostgreSQL's own JSON refuses, and numbers of any size are kept."""
    meta = {"k": ["\x00", "\U0001f600", "é", 2**70, None, {"n": 1.5}]}
    await store.insert(record("a", meta=meta, tags=["x"]))
    found = await store.get("a")
    assert found is not None
    assert (found.meta, found.tags) == (meta, ["x"])


async def test_a_key_is_taken_once(store: JobStore) -> None:
    """Twenty at once under one key: one record, nineteen refusals."""

    async def insert(number: int) -> bool:
        try:
            await store.insert(record(f"job{number}", idempotency_key="k", tags=["a", "a"]))
        except KeyTaken:
            return False
        return True

    assert sum(await asyncio.gather(*(insert(number) for number in range(20)))) == 1
    assert len(await store.page(JobFilter(tag="a"), limit=10)) == 1
    assert await store.by_key("default", "k") is not None
    assert await store.by_key("default", "other") is None


async def test_parallel_changes_of_one_record_are_all_kept(store: JobStore) -> None:
    """Read, change, write is one step: no increment is lost."""
    await store.insert(record("a"))

    def increment(records: object) -> None:
        assert isinstance(records, dict)
        records["a"].version += 1

    await asyncio.gather(*(store.change(["a"], increment) for _ in range(25)))
    found = await store.get("a")
    assert found is not None
    assert found.version == 25


async def test_pages_follow_the_order_of_acceptance_whatever_the_ids(store: JobStore) -> None:
    """Clients may choose ids: they say nothing about which job came first."""
    ids = ["a-1", "a0", "Z", "a", "A", "b_", "0"]
    for job_id in ids:
        await store.insert(record(job_id))

    seen, after = [], None
    while page := await store.page(JobFilter(oldest_first=True, after=after), limit=2):
        seen += [one.id for one in page]
        after = page[-1].sort_key
    assert seen == ids


async def test_open_work_is_found_by_its_small_indexes(store: JobStore, engines: Engines) -> None:
    """The questions that are asked every second do not read the finished jobs."""
    now = utc_now()
    await store.insert(record("done", done=True, start_by=now, created_at=now - timedelta(hours=1)))
    await store.insert(record("open", start_by=now, created_at=now - timedelta(hours=1)))

    assert [one.id for one in await store.undispatched(created_before=now, limit=5)] == ["open"]
    assert [one.id for one in await store.open_jobs(after_id="", limit=5)] == ["open"]
    assert [one.id for one in await store.start_overdue(now + timedelta(1), limit=5)] == ["open"]
    await store.mark_dispatched(["open"], now)
    assert await store.undispatched(created_before=now, limit=5) == []
    if engines.reader.dialect.name == "sqlite":
        question = (
            "EXPLAIN QUERY PLAN SELECT id FROM jobs WHERE dispatched_at IS NULL AND done = 0 "
            "AND created_at < '2030' ORDER BY created_at LIMIT 5"
        )
        async with engines.reader.connect() as connection:
            plan = str((await connection.execute(text(question))).all())
        assert "ix_jobs_undispatched" in plan


async def test_a_database_that_is_not_there_is_said_to_be() -> None:
    """The driver's own errors do not get out."""
    async with open_engines(f"postgresql+asyncpg://app@127.0.0.1:{free_port()}/x") as engines:
        with pytest.raises(StoreUnavailable):
            await JobStore(engines).get("a")
        with pytest.raises(StoreUnavailable):
            await schema.look(engines)


async def test_marking_locks_jobs_in_the_order_in_which_recorders_do(postgres_url: str) -> None:
    """Who waits for a job holds none behind it: dispatcher and recorder would wait for each other."""
    async with open_engines(postgres_url) as engines:
        await schema.upgrade(engines)
        store = JobStore(engines)
        for job_id in ("b", "a"):  # in the table they stand in this order
            await store.insert(record(job_id))
        lock = "SELECT id FROM jobs WHERE id = '{}' FOR UPDATE"
        waiting = text("SELECT count(*) FROM pg_locks WHERE NOT granted")
        async with engines.writer.begin() as recorder, engines.reader.connect() as looking:
            await recorder.execute(text(lock.format("a")))
            marking = asyncio.create_task(store.mark_dispatched(["b", "a"], utc_now()))

            async def waits() -> bool:
                return bool(await looking.scalar(waiting))

            await eventually(waits, "the dispatcher waits for the recorder")
            await recorder.execute(text(lock.format("b") + " NOWAIT"))
        await marking
        assert await store.undispatched(created_before=utc_now(), limit=10) == []
