"""New records, committed together: whoever comes while a commit is under way is part of the next one.

A commit waits for the disk, and one transaction of fifty rows costs little more than one of a single row. Nobody
waits for others to come: the first one begins at once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from sqlalchemy import insert
from sqlalchemy.exc import IntegrityError

from milepost.errors import MilepostError
from milepost_api.records.engine import Engines, reachable
from milepost_api.records.order import another_key
from milepost_api.records.swift import Writer
from milepost_api.records.table import JobRecord, Row, TagRecord, rows_of

_jobs: Any = JobRecord.__table__  # type: ignore[attr-defined]
_tags: Any = TagRecord.__table__  # type: ignore[attr-defined]
_INSERT_JOBS, _INSERT_TAGS = insert(_jobs), insert(_tags)

TOGETHER = 100
"""Records that one transaction holds at most: it keeps SQLite's only writer for a few milliseconds."""


class KeyTaken(MilepostError):
    """A job with this idempotency key exists already."""


class IdTaken(MilepostError):
    """A job with this id exists already."""


class Intake:
    """Inserts records."""

    def __init__(self, engines: Engines) -> None:
        self._engines = engines
        self._waiting: list[tuple[JobRecord, asyncio.Future[None]]] = []
        self._running: asyncio.Task[None] | None = None

    async def insert(self, record: JobRecord) -> None:
        """Return when the record is committed. Raises `KeyTaken`, `IdTaken`, `StoreUnavailable`."""
        committed = asyncio.get_running_loop().create_future()
        self._waiting.append((record, committed))
        if self._running is None:
            self._running = asyncio.create_task(self._insert_all(), name="intake")
        await committed

    async def _insert_all(self) -> None:
        try:
            while self._waiting:
                portion, self._waiting = self._waiting[:TOGETHER], self._waiting[TOGETHER:]
                await self._insert_portion(portion)
        finally:
            self._running = None

    async def _insert_portion(self, portion: Sequence[tuple[JobRecord, asyncio.Future[None]]]) -> None:
        try:
            await self._insert([record for record, _ in portion])
        except IntegrityError:
            # One of them at least is refused, and all with it: each by itself, to know which.
            for record, committed in portion:
                await self._settle(record, committed)
        except BaseException as error:
            for _, committed in portion:
                _fail(committed, error)
            if not isinstance(error, Exception):
                raise  # this process is leaving
        else:
            for _, committed in portion:
                _done(committed)

    async def _settle(self, record: JobRecord, committed: asyncio.Future[None]) -> None:
        try:
            await self._insert_alone(record)
        except Exception as error:  # noqa: BLE001 - whatever it is, the one who waits has to hear it
            _fail(committed, error)
        else:
            _done(committed)

    async def _insert_alone(self, record: JobRecord) -> None:
        attempt = 0
        while True:
            try:
                await self._insert([record])
                return
            except IntegrityError as error:
                _raise_if_taken(record, error)
            attempt += 1  # another job was accepted in this very microsecond
            record.sort_key = another_key(record.created_at, attempt)

    async def _insert(self, records: Sequence[JobRecord]) -> None:
        rows = [rows_of(record) for record in records]
        with reachable():
            await self._engines.in_one_go(lambda writer: insert_rows(writer, rows))


def insert_rows(writer: Writer, rows: Sequence[tuple[Row, Sequence[Row]]]) -> None:
    """Write jobs with their tags; whoever calls commits."""
    writer.insert(_INSERT_JOBS, [job for job, _ in rows])
    if tags := [tag for _, tags in rows for tag in tags]:  # they refer to their jobs
        writer.insert(_INSERT_TAGS, tags)


def _done(committed: asyncio.Future[None]) -> None:
    if not committed.done():  # its request may have been given up
        committed.set_result(None)


def _fail(committed: asyncio.Future[None], error: BaseException) -> None:
    if committed.done():
        return
    if isinstance(error, Exception):
        committed.set_exception(error)
    else:
        committed.cancel()


def _raise_if_taken(record: JobRecord, error: IntegrityError) -> None:
    """Read what SQLite or PostgreSQL say of a constraint; raise unless it is that of the order of lists."""
    told = str(error.orig)
    if record.idempotency_key is not None and "idempotency_key" in told:
        raise KeyTaken from error
    if told.rstrip().endswith("UNIQUE constraint failed: jobs.id") or '"pk_jobs"' in told:
        raise IdTaken from error
    if "sort_key" not in told:
        raise error
