"""SQLite's writer of new jobs: one connection in one thread, and nothing between a row and the driver.

The commit of a job is what its submitter waits for. SQLAlchemy says once what is written and in which form; to go
through it again for every transaction takes a sixth of the time that a transaction with its wait for the disk takes.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from sqlalchemy import Connection, Dialect, Engine, Insert, PoolProxiedConnection
from sqlalchemy.exc import DBAPIError

Row = Mapping[str, Any]
Form = Callable[[Any], Any] | None
"""What makes a value fit for the driver; None: it is."""


class Writer(Protocol):
    """What writes within a transaction."""

    def insert(self, statement: Insert, rows: Sequence[Row]) -> None:
        """Insert the rows, at least one, all with the same columns."""


class Layered:
    """A connection of SQLAlchemy's."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def insert(self, statement: Insert, rows: Sequence[Row]) -> None:
        """Insert the rows."""
        self._connection.execute(statement, rows)


class Swift:
    """A connection of the driver's, kept for one transaction after the other. All is done in one thread.

    `begin` begins a transaction. Errors are those that SQLAlchemy would raise.
    """

    def __init__(self, engine: Engine, begin: str) -> None:
        self._engine, self._begin = engine, begin
        self._connection: PoolProxiedConnection | None = None
        self._plain: dict[Insert, tuple[str, list[tuple[str, Form]]]] = {}

    def transaction(self, work: Callable[[Writer], None]) -> None:
        """Do `work` in one transaction."""
        try:
            self.execute(self._begin)
            work(self)
            self.execute("COMMIT")
        except BaseException as error:
            self._forget()
            if isinstance(error, sqlite3.Error):
                raise DBAPIError.instance(None, None, error, sqlite3.Error, hide_parameters=True) from error
            raise

    def execute(self, sql: str) -> None:
        """Execute what returns nothing."""
        self._driver.execute(sql)

    def insert(self, statement: Insert, rows: Sequence[Row]) -> None:
        """Insert the rows."""
        plain = self._plain.get(statement)
        if plain is None:
            plain = self._plain[statement] = _plain(statement, list(rows[0]), self._engine.dialect)
        sql, forms = plain
        values = [[form(row[name]) if form else row[name] for name, form in forms] for row in rows]
        self._driver.executemany(sql, values)

    def close(self) -> None:
        """Close the connection."""
        self._forget()
        self._engine.dispose()

    @property
    def _driver(self) -> sqlite3.Connection:
        self._connection = self._connection or self._engine.raw_connection()
        driver: sqlite3.Connection = self._connection.driver_connection  # type: ignore[assignment]
        return driver

    def _forget(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()  # to the pool, which takes back what was not committed


def _plain(statement: Insert, columns: list[str], dialect: Dialect) -> tuple[str, list[tuple[str, Form]]]:
    """Return a statement as the driver takes it, and what it takes for each question mark in turn."""
    compiled: Any = statement.compile(dialect=dialect, column_keys=columns)
    types = {name: statement.table.c[name].type.dialect_impl(dialect) for name in compiled.positiontup}
    return str(compiled), [(name, form.bind_processor(dialect)) for name, form in types.items()]
