"""The records of a house, past the APIs: made, looked at, and made old."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import timedelta
from threading import Lock

from milepost_api import database
from milepost_api.records import JobRecord, open_engines
from milepost_api.settings import ApiSettings
from sqlalchemy import Table, select, update

from milepost.times import utc_now

RETENTION_DAYS = 1
_JOBS: Table = JobRecord.__table__  # type: ignore[attr-defined]
_MIGRATING = Lock()


async def upgrade(url: str) -> None:
    """Bring a database up to date. Several houses are opened at once, and Alembic migrates one at a time."""

    def migrate() -> None:
        with _MIGRATING:
            asyncio.run(database.upgrade(ApiSettings(database_url=url)))

    await asyncio.to_thread(migrate)


async def age(url: str, job_ids: Sequence[str]) -> bool:
    """Let these jobs have ended long ago, once all of them are recorded; says whether they are."""
    before = utc_now() - timedelta(days=2 * RETENTION_DAYS)
    ended = update(_JOBS).where(_JOBS.c.id.in_(job_ids), _JOBS.c.done).values(finished_at=before)
    async with open_engines(url) as engines, engines.writer.connect() as connection:
        if (await connection.execute(ended)).rowcount < len(job_ids):
            return False  # and nothing is committed
        await connection.commit()
        return True


async def have_gone(url: str, job_ids: Sequence[str]) -> bool:
    """Whether nothing of these jobs is left in SQL."""
    async with open_engines(url) as engines, engines.reader.connect() as connection:
        found = await connection.execute(select(_JOBS.c.id).where(_JOBS.c.id.in_(job_ids)))
        return not found.all()
