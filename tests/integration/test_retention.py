"""What is kept in SQL and for how long: finished jobs go when they are old, everything else stays."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from milepost_api.caretaker import Retention, retention
from milepost_api.records import Engines, JobFilter, JobRecord, JobStore
from sqlalchemy import text

pytestmark = pytest.mark.anyio
NOW = datetime(2026, 11, 21, tzinfo=UTC)


async def finished(store: JobStore, job_id: str, days_ago: float | None) -> None:
    """Insert a job that ended so long ago; None: it is not done, though it was accepted long ago."""
    ended = None if days_ago is None else NOW - timedelta(days=days_ago)
    await store.insert(
        JobRecord(
            id=job_id,
            task="t",
            params="{}",
            tags=["x"],
            created_at=NOW - timedelta(days=1000),
            done=ended is not None,
            finished_at=ended,
        )
    )


async def count(engines: Engines, table: str) -> int:
    async with engines.reader.connect() as connection:
        return int((await connection.execute(text(f"SELECT count(*) FROM {table}"))).scalar_one())


async def test_old_finished_jobs_go_and_others_stay(
    store: JobStore, engines: Engines, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With their tags, in batches with a breath between them; however old a job is that is not done, it stays."""
    monkeypatch.setattr(retention, "BATCH", 3)
    for number in range(8):
        await finished(store, f"old{number}", 30.01 + number)
    await finished(store, "recent", 29.9)
    await finished(store, "live", None)
    left: list[int] = []

    async def breathe(_seconds: float) -> None:
        left.append(await count(engines, "jobs"))

    await Retention(store, days=30, now=lambda: NOW, sleep=breathe).round()

    assert {job.id for job in await store.page(JobFilter(), limit=20)} == {"recent", "live"}
    assert left == [7, 4], "two full batches of three, then the rest"
    assert await count(engines, "job_tags") == 2


async def test_looking_for_old_jobs_reads_no_others(store: JobStore, engines: Engines) -> None:
    """The oldest ends stand first in an index."""
    await finished(store, "a", 1)
    async with engines.reader.connect() as connection:
        if engines.reader.dialect.name == "postgresql":
            explain = "EXPLAIN"
            await connection.execute(text("SET enable_seqscan = off"))  # the table is tiny
            await connection.execute(text("SET enable_bitmapscan = off"))
        else:
            explain = "EXPLAIN QUERY PLAN"
        question = (
            f"{explain} SELECT id FROM jobs WHERE done AND finished_at < :before ORDER BY finished_at LIMIT 9"
        )
        before: object = NOW if engines.reader.dialect.name == "postgresql" else "2026"
        plan = str((await connection.execute(text(question), {"before": before})).all())
    assert "ix_jobs_finished_at" in plan
