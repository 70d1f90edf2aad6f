"""A million jobs, made by the database itself: nearly all succeeded, some failed, few are under way.

What is rare is rare everywhere and what is common is common; and some things never meet, so that a list of them is
empty though there are many of either: `FAITHFUL` never failed, `nightly` jobs never failed, `task-1` never ran on
`queue-1`.
"""

from __future__ import annotations

from milepost_api.records import Engines, derived, schema
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

JOBS = 1_000_000
FAITHFUL = "task-2"
LARGE_BATCH, SMALL_BATCH = "everything", "batch-500"
BEGAN = 1_767_225_600
"""Seconds since 1970: 2026-01-01. A job every two seconds."""

_TASK = "'task-' || (n % 50)"
_TAG = "CASE WHEN n % 10 = 3 THEN 'nightly' WHEN n % 10 = 7 THEN 'user:' || (n % 3000) END"
# 7919 and the rest share no divisor with the million: what depends on one remainder does not depend on another.
_STATUS = """CASE
    WHEN n > 999000 AND n % 4 = 0 THEN 'queued'
    WHEN n > 999500 AND n % 8 = 1 THEN 'running'
    WHEN n > 999500 AND n % 64 = 2 THEN 'retrying'
    WHEN n > 999500 AND n % 64 = 5 THEN 'scheduled'
    WHEN n % 50 = 2 OR n % 10 = 3 THEN 'succeeded'
    WHEN n * 7919 % 1000 < 30 THEN 'failed'
    WHEN n * 7919 % 1000 < 45 THEN 'cancelled'
    WHEN n * 7919 % 1000 < 50 THEN 'expired'
    ELSE 'succeeded' END"""
_OPEN = "('queued', 'running', 'retrying', 'scheduled')"
_MESSAGE = """CASE
    WHEN n = 4242 THEN 'the needle in the haystack'
    WHEN n < 20000 THEN 'by the old importer'
    WHEN status = 'failed' THEN 'valueerror: row ' || n || ' is broken'
    WHEN n % 3 = 0 THEN 'imported'
    ELSE '' END"""
_COLUMNS = (
    "id, task, params, queue, priority, tags, metadata, max_attempts, created_at, start_by, batch_id, tenant, "
    "status, done, version, attempt, dispatched_at, sort_key, search"
)
_NUMBERS = {
    "postgresql": f"SELECT n FROM generate_series(1, {JOBS}) AS n",
    "sqlite": f"WITH RECURSIVE g(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM g WHERE n < {JOBS}) SELECT n FROM g",
}
_MOMENT = {
    "postgresql": f"to_timestamp({BEGAN} + 2 * n)",
    "sqlite": f"strftime('%Y-%m-%d %H:%M:%S', {BEGAN} + 2 * n, 'unixepoch') || '.000000'",
}


async def fill(engines: Engines) -> None:
    """Upgrade an empty database and fill it. Its indexes are made afterwards, which is several times faster."""
    await schema.upgrade(engines)
    dialect = engines.writer.dialect.name
    async with engines.writer.connect() as connection:
        if dialect == "sqlite":
            for pragma in ("synchronous=OFF", "cache_size=-400000", "temp_store=MEMORY"):
                await connection.exec_driver_sql(f"PRAGMA {pragma}")
        else:
            await connection.execute(text("SET maintenance_work_mem = '512MB'"))
        await connection.commit()
        async with connection.begin():
            await connection.run_sync(derived.drop_triggers)
            indexes = await _take_indexes(connection)
            await connection.execute(text(_insert(dialect)))
            await connection.execute(text(_TAGS))
            for index in indexes:
                await connection.exec_driver_sql(index)
            await connection.execute(text(_SEARCH[dialect]))
            await connection.run_sync(derived.install)
    async with engines.writer.connect() as connection:
        plain = await connection.execution_options(isolation_level="AUTOCOMMIT")
        await plain.exec_driver_sql("ANALYZE" if dialect == "sqlite" else "VACUUM ANALYZE")


def _insert(dialect: str) -> str:
    moment, yes, no = _MOMENT[dialect], *(("true", "false") if dialect == "postgresql" else ("1", "0"))
    inner = f"""SELECT n, {_TASK} AS task, {_TAG} AS tag, {_STATUS} AS status, {moment} AS moment
        FROM ({_NUMBERS[dialect]}) AS numbers"""
    number = "lpad(n::text, 7, '0')" if dialect == "postgresql" else "printf('%07d', n)"
    row = f"""
        'job-' || {number}, task, '{{}}',
        'queue-' || CASE WHEN n % 50 = 1 THEN 0 ELSE n * 31 / 50 % 5 END,
        0, CASE WHEN tag IS NULL THEN '[]' ELSE '["' || tag || '"]' END, '{{}}', 1, moment,
        CASE WHEN n % 100 = 0 THEN moment END,
        CASE WHEN n % 10 = 5 THEN '{LARGE_BATCH}' WHEN n % 10 = 6 THEN 'batch-' || (n / 1000) END,
        CASE WHEN n % 1000 = 8 THEN 'small' ELSE 'default' END,
        status, CASE WHEN status IN {_OPEN} THEN {no} ELSE {yes} END, 3, 1, CASE WHEN n % 4000 > 0 THEN moment END,
        ({BEGAN} + 2 * n) * 1000000,
        'job-' || {number} || :line || task || :line || coalesce(tag, '') || :line || {_MESSAGE}"""
    return f"INSERT INTO jobs ({_COLUMNS}) SELECT {row} FROM ({inner}) AS rows".replace(
        ":line", "chr(10)" if dialect == "postgresql" else "char(10)"
    )


_TAGS = """INSERT INTO job_tags (job_id, tag, tenant, status, task, queue, sort_key)
    SELECT id, substr(tags, 3, length(tags) - 4), tenant, status, task, queue, sort_key FROM jobs WHERE tags <> '[]'"""
_SEARCH = {
    "postgresql": "INSERT INTO job_search SELECT sort_key, search FROM jobs",
    "sqlite": "INSERT INTO job_search(job_search) VALUES ('rebuild')",
}


async def _take_indexes(connection: AsyncConnection) -> list[str]:
    """Drop the indexes that are no constraints; return the statements that make them again."""
    if connection.dialect.name == "sqlite":
        query = "SELECT name, sql FROM sqlite_master WHERE type = 'index' AND sql IS NOT NULL"
    else:
        query = (
            "SELECT indexname, indexdef FROM pg_indexes "
            "WHERE schemaname = current_schema() AND indexname LIKE 'ix%'"
        )
    found = (await connection.execute(text(query))).all()
    for name, _ in found:
        await connection.exec_driver_sql(f"DROP INDEX {name}")
    return [statement for _, statement in found]
