"""What a database does to answer: which tables it scans, and how many rows or steps that takes. No clock is asked."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from milepost_api.records import Engines
from sqlalchemy import event
from sqlalchemy.ext.asyncio import AsyncConnection

_SCAN = re.compile(r"SCAN (\w+)(?! VIRTUAL| USING INDEX ix_jobs_(open|undispatched|start_by))")
"""Not a scan: what FTS5 does, and reading an index of the jobs that are not done."""
TABLES = frozenset({"jobs", "job_tags", "job_search"})
STEPS = 1000
CUSTOM = "force_custom_plan"


@dataclass(frozen=True)
class Work:
    """What one statement cost. `scanned`: tables that were read whole, or indexes from end to end. `rows`: read from
    tables and indexes, those that were thrown away as well; on SQLite the steps of its machine.
    """

    statement: str
    scanned: tuple[str, ...]
    rows: int
    is_sqlite: bool


async def work_of(engines: Engines, ask: Callable[[], Awaitable[object]]) -> list[Work]:
    """Return what every statement of `ask` costs; on PostgreSQL planned for its values and, unless `ask` sees to it
    that this cannot happen, planned for any.
    """
    with _listening(engines) as said:
        await ask()
    assert said, "nothing was asked"
    async with engines.reader.connect() as connection:
        if connection.dialect.name == "sqlite":
            return [await _in_sqlite(connection, *one) for one in said]
        is_custom = any(statement.endswith(CUSTOM) for statement, _ in said)
        modes = (CUSTOM,) if is_custom else (CUSTOM, "force_generic_plan")
        asked = [one for one in said if not one[0].startswith("SET ")]
        return [await _in_postgres(connection, mode, *one) for one in asked for mode in modes]


@contextmanager
def _listening(engines: Engines) -> Iterator[list[tuple[str, Sequence[Any]]]]:
    said: list[tuple[str, Sequence[Any]]] = []

    def hear(_connection: Any, _cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        said.append((statement, parameters))

    event.listen(engines.reader.sync_engine, "before_cursor_execute", hear)
    try:
        yield said
    finally:
        event.remove(engines.reader.sync_engine, "before_cursor_execute", hear)


# --- SQLite --------------------------------------------------------------------------------------


async def _in_sqlite(connection: AsyncConnection, statement: str, parameters: Sequence[Any]) -> Work:
    driver: Any = (await connection.get_raw_connection()).driver_connection
    plan = await driver.execute_fetchall(f"EXPLAIN QUERY PLAN {statement}", parameters)
    scans = [found[1] for *_, detail in plan if (found := _SCAN.match(detail))]
    thousands = 0

    def count() -> int:
        nonlocal thousands
        thousands += 1
        return 0

    await driver.set_progress_handler(count, STEPS)
    await driver.execute_fetchall(statement, parameters)
    await driver.set_progress_handler(None, 0)
    return Work(statement, tuple(name for name in scans if name in TABLES), thousands * STEPS, is_sqlite=True)


# --- PostgreSQL ----------------------------------------------------------------------------------


async def _in_postgres(
    connection: AsyncConnection, mode: str, statement: str, parameters: Sequence[Any]
) -> Work:
    driver: Any = (await connection.get_raw_connection()).driver_connection
    await driver.execute(f"SET plan_cache_mode = {mode}")
    await driver.execute(f"PREPARE asked AS {statement}")
    given = f"({', '.join(_literal(one) for one in parameters)})" if parameters else ""
    try:
        told: Any = await driver.fetchval(f"EXPLAIN (ANALYZE, TIMING OFF, FORMAT JSON) EXECUTE asked{given}")
    finally:
        await driver.execute("DEALLOCATE asked; RESET plan_cache_mode")
    plan = told[0]["Plan"]
    nodes = [node for node in _nodes(plan) if node.get("Relation Name") in TABLES]
    scanned = tuple(node["Relation Name"] for node in nodes if node["Node Type"] == "Seq Scan")
    rows = round(sum(_rows(node) for node in nodes))
    return Work(f"{mode}: {statement}", scanned, rows, is_sqlite=False)


def _nodes(plan: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    yield plan
    for inner in plan.get("Plans", ()):
        yield from _nodes(inner)


def _rows(node: Mapping[str, Any]) -> float:
    kept_or_not = ("Actual Rows", "Rows Removed by Filter", "Rows Removed by Index Recheck")
    return float(sum(node.get(name, 0) for name in kept_or_not) * node["Actual Loops"])


def _literal(value: Any) -> str:
    if value is None:
        return "NULL"
    if isinstance(value, bool | int | float):
        return str(value)
    if isinstance(value, datetime):
        return f"'{value.isoformat()}'"
    if isinstance(value, list):
        return f"ARRAY[{', '.join(_literal(one) for one in value)}]"
    quoted = str(value).replace("'", "''")
    return f"'{quoted}'"
