"""Connections to SQLite or PostgreSQL."""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, QueuePool, create_engine, event
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from milepost.errors import StoreUnavailable
from milepost_api.records.swift import Layered, Swift, Writer

SQLITE_BUSY_SECONDS = 10.0
TURN_SECONDS = 30.0  # each of those before may wait for another program that writes; then a request says 503
CONNECT_SECONDS = 5.0
STATEMENT_SECONDS = 10.0  # PostgreSQL has answered by then, or a request says 503; all take milliseconds

logging.getLogger("aiosqlite").setLevel(logging.INFO)  # at DEBUG it logs whatever is stored, secrets included


@dataclass(frozen=True, slots=True)
class Engines:
    """One engine to read with, one to write with; on PostgreSQL they are the same."""

    reader: AsyncEngine
    writer: AsyncEngine
    swift: Swift | None = None
    """SQLite alone: writes in a thread of its own without going back and forth for every step."""
    thread: ThreadPoolExecutor | None = None

    _turn: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def in_one_go(self, work: Callable[[Writer], None]) -> None:
        """Do `work` in one transaction of its own."""
        async with self.turn():
            if self.swift is None:
                async with self.writer.begin() as connection:
                    await connection.run_sync(lambda plain: work(Layered(plain)))
            else:
                await asyncio.get_running_loop().run_in_executor(self.thread, self.swift.transaction, work)

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """Wait for the turn to write, in this process. Raises `TimeoutError`.

        SQLite has one writer at a time, and those who poll its lock may be unlucky for seconds. PostgreSQL takes all.
        """
        if self.swift is None:
            yield
            return
        async with asyncio.timeout(TURN_SECONDS):
            await self._turn.acquire()
        try:
            yield
        finally:
            self._turn.release()

    async def dispose(self) -> None:
        """Close all connections."""
        await self.reader.dispose()
        await self.writer.dispose()
        if self.swift is not None and self.thread is not None:
            await asyncio.get_running_loop().run_in_executor(self.thread, self.swift.close)
            self.thread.shutdown()


@asynccontextmanager
async def open_engines(url: str, *, patient: bool = False) -> AsyncIterator[Engines]:
    """Open the database for as long as the block lasts. No connection is made yet.

    `patient`: a statement may take as long as it takes, as those of migrations do.
    """
    if make_url(url).get_backend_name() == "sqlite":
        # Each statement of the asyncio driver goes to a thread and back several times, and a commit of a new job is
        # what its submitter waits for: that one is done in one go, by a thread that keeps its connection.
        one = {"pool_size": 1, "max_overflow": 0}
        engines = Engines(
            _sqlite(url, "BEGIN"),
            _sqlite(url, "BEGIN IMMEDIATE", **one),
            _swift_sqlite(url, "BEGIN IMMEDIATE", **one),
            ThreadPoolExecutor(1, "milepost-sqlite"),
        )
    else:
        both = _postgres(url, None if patient else STATEMENT_SECONDS)
        engines = Engines(both, both)
    try:
        yield engines
    finally:
        await engines.dispose()


@contextmanager
def reachable() -> Iterator[None]:
    """Raises `StoreUnavailable` for what the drivers raise when the database cannot do its work at the moment."""
    try:
        yield
    except Exception as error:
        if not is_away(error):
            raise
        raise StoreUnavailable(_sentence(error)) from error


def is_away(error: Exception) -> bool:
    """Whether the same may succeed later: the database is away, starting, full, or somebody was faster."""
    if isinstance(error, OperationalError | InterfaceError | PoolTimeoutError | OSError):
        return True  # OSError: a failure to connect arrives as it is, and asyncpg's timeouts are among them
    state = _state(error)
    return state[:2] in _AWAY_CLASSES or state in _AWAY_STATES or _is_confused(getattr(error, "orig", None))


def is_of_database(error: Exception) -> bool:
    """Whether the database, or its driver, has refused something.

    What PostgreSQL says to whoever connects arrives as the driver raised it, and is known by its SQLSTATE.
    """
    return isinstance(error, DBAPIError) or bool(_state(error))


_AWAY_CLASSES = ("08", "53", "57")
"""SQLSTATE classes: connection exception, insufficient resources (connections, disk), operator intervention."""
_AWAY_STATES = ("40001", "40P01", "55P03")
"""Serialization failure, deadlock, lock not available (https://www.postgresql.org/docs/current/errcodes-appendix.html)."""


def _is_confused(error: object) -> bool:
    """Whether the driver does not know any more where its connection stands: one was cut in the middle of an answer.

    Known by name: asyncpg is only there where PostgreSQL is used.
    """
    return type(error).__name__ == "InternalClientError"


def _state(error: Exception) -> str:
    return str(getattr(getattr(error, "orig", error), "sqlstate", None) or "")


def _sentence(error: Exception) -> str:
    code = getattr(getattr(error, "orig", None), "sqlite_errorcode", 0)
    if code == sqlite3.SQLITE_FULL or _state(error) == "53100":
        return "The disk of the database is full; nothing can be accepted until there is room again."
    return "The database cannot be reached at the moment; try again shortly."


def _postgres(url: str, statement_seconds: float | None) -> AsyncEngine:
    engine = create_async_engine(
        url,
        hide_parameters=True,  # in errors: what was to be stored may hold secrets
        pool_pre_ping=True,
        pool_size=10,
        max_overflow=5,
        pool_timeout=STATEMENT_SECONDS,  # a crowd of requests is served in turn; who waits for so long is told 503
        connect_args={"timeout": CONNECT_SECONDS, "command_timeout": statement_seconds},
    )

    @event.listens_for(engine.sync_engine, "handle_error")
    def give_up_the_connection(context: Any) -> None:
        if _is_confused(context.original_exception):
            context.is_disconnect = True  # the pool would hand it out again

    return engine


def _sqlite(url: str, begin: str, **pool: Any) -> AsyncEngine:
    engine = create_async_engine(url, **_SQLITE, **pool)
    _prepare(engine.sync_engine, url, begin)
    return engine


def _swift_sqlite(url: str, begin: str, **pool: Any) -> Swift:
    plain = make_url(url).set(drivername="sqlite+pysqlite")
    engine = create_engine(plain, poolclass=QueuePool, **_SQLITE, **pool)
    _prepare(engine, url, begin)
    return Swift(engine, begin)


_SQLITE: Mapping[str, Any] = {"hide_parameters": True, "connect_args": {"timeout": SQLITE_BUSY_SECONDS}}


def _prepare(engine: Engine, url: str, begin: str) -> None:
    path = make_url(url).database
    if path:
        Path(path).parent.mkdir(parents=True, exist_ok=True)

    @event.listens_for(engine, "connect")
    def configure(connection: Any, _record: Any) -> None:
        # The driver would begin transactions late and by itself; `begin` below does it, with the right word.
        connection.isolation_level = None
        cursor = connection.cursor()
        # FULL: a commit that was answered 202 survives a power cut; NORMAL may lose the last ones of the log.
        for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()

    # IMMEDIATE takes the lock before the first read: a transaction that reads and then writes would
    # otherwise fail at once with SQLITE_BUSY when another wrote in between, whatever the busy timeout.
    @event.listens_for(engine, "begin")
    def begin_transaction(connection: Any) -> None:
        connection.exec_driver_sql(begin)
