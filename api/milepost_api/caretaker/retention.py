"""Removes finished jobs from the records when they are old enough, where the operator wants that."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta

import structlog

from milepost.times import utc_now
from milepost_api.records import JobStore

BATCH = 200
"""Jobs of one transaction: SQLite has one writer at a time, and a submission must not wait for more than some ms."""
BREATH_SECONDS = 0.05
log = structlog.get_logger()


class Retention:
    """Deletes jobs that ended more than `days` ago, with all that belongs to them."""

    name = "retention"
    every_seconds = 60.0

    def __init__(
        self,
        store: JobStore,
        *,
        days: float,
        now: Callable[[], datetime] = utc_now,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._store, self._kept, self._now, self._sleep = store, timedelta(days=days), now, sleep

    async def round(self) -> None:
        """Delete all that is due, in batches between which others may write."""
        before, removed = self._now() - self._kept, 0
        while found := await self._store.remove_finished(finished_before=before, limit=BATCH):
            removed += found
            if found < BATCH:
                break
            await self._sleep(BREATH_SECONDS)
        if removed:
            log.info("old jobs were removed from the records", jobs=removed)
