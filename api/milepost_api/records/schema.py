"""Is the database at the version this code needs, and the way there."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from alembic import command
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Connection, inspect, text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection

from milepost.errors import SettingsError
from milepost.times import utc_now
from milepost_api.records import derived
from milepost_api.records.backup import back_up
from milepost_api.records.engine import Engines, is_away, is_of_database, reachable
from milepost_api.records.revisions import Fitness, Found, config, head, known
from milepost_api.records.table import JobRecord, TagRecord

_UPGRADE_LOCK = 0x6D696C65  # "mile": PostgreSQL's advisory locks are numbers
_TURN_SECONDS = 3600  # so long a start waits for the migration of another


@dataclass(frozen=True, slots=True)
class Upgraded:
    """What an upgrade did: where the database was, the migrations that ran, the copy that was made before."""

    before: str | None
    migrations: tuple[str, ...]
    backup: Path | None


async def look(engines: Engines) -> Found:
    """Return where the database stands. Raises `StoreUnavailable`, `SettingsError` when it is none that can be used."""
    with reachable():
        try:
            async with engines.reader.connect() as connection:
                return await connection.run_sync(_found)
        except Exception as error:
            if is_away(error) or not is_of_database(error):
                raise
            why = str(getattr(error, "orig", None) or error).partition("\n")[0]
            raise SettingsError(
                f"The database that MILEPOST_DATABASE_URL names cannot be used: {why.removesuffix('.')}."
            ) from error


async def require_current(engines: Engines) -> None:
    """Raise `SettingsError` with what to do when the database is not at the version of this code."""
    if refusal := (await look(engines)).refusal:
        raise SettingsError(refusal)


async def upgrade(
    engines: Engines, revision: str = "head", *, now: Callable[[], datetime] = utc_now
) -> Upgraded:
    """Bring the database to `revision`, all of the way or not at all. Processes that start together take turns.

    A SQLite file that holds jobs is copied first. Raises `SettingsError` when this is no database that can be upgraded,
    or the upgrade failed; `StoreUnavailable`.
    """
    found = await look(engines)
    if found.fitness == Fitness.CURRENT:
        return Upgraded(found.revision, (), None)  # most starts: no lock is taken
    with reachable():
        return await _upgrade(engines, revision, now)


async def _upgrade(engines: Engines, revision: str, now: Callable[[], datetime]) -> Upgraded:
    async with _migration(engines) as connection:
        if connection.dialect.name == "postgresql":
            # Held to the end of this transaction, in which all migrations run.
            await connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _UPGRADE_LOCK})
        found = await connection.run_sync(_found)  # again: another may have done it meanwhile
        if found.fitness == Fitness.UNKNOWN:
            raise SettingsError(found.refusal)
        backup = await _backed_up(connection, found, now())
        try:
            await connection.run_sync(_run, command.upgrade, revision)
            await connection.run_sync(derived.install)
        except SQLAlchemyError as error:
            raise _failed(found, backup, error) from error
        after = await connection.run_sync(_found)
    return Upgraded(found.revision, _between(found.revision, after.revision), backup)


def _failed(found: Found, backup: Path | None, error: SQLAlchemyError) -> SettingsError:
    why = str(getattr(error, "orig", None) or error).partition("\n")[0]
    kept = f" The copy {backup} was made before." if backup else ""
    return SettingsError(
        f"The database could not be brought from revision {found.revision or 'none'} to {head()}: {why}. It is as it "
        f"was.{kept}"
    )


async def _backed_up(connection: AsyncConnection, found: Found, now: datetime) -> Path | None:
    if connection.dialect.name != "sqlite" or found.fitness != Fitness.OLDER:
        return None
    if (await connection.execute(text("SELECT 1 FROM jobs LIMIT 1"))).first() is None:
        return None
    path = connection.engine.url.database
    assert path is not None, "a database in memory is refused by the settings"
    # Nobody writes meanwhile: this transaction holds the lock of the writers. Copying does not block the loop.
    return await asyncio.to_thread(back_up, Path(path), found.revision or "", now)


def _between(before: str | None, after: str | None) -> tuple[str, ...]:
    names = list(known())
    start = names.index(before) + 1 if before else 0
    end = names.index(after) + 1 if after else 0
    return tuple(f"{name} {known()[name]}" for name in names[start:end])


async def downgrade(engines: Engines, revision: str) -> None:
    """Take the database back to `revision`; "base" empties it."""
    async with _migration(engines) as connection:
        await connection.run_sync(_run, command.downgrade, revision)
        await connection.run_sync(derived.install)


@asynccontextmanager
async def _migration(engines: Engines) -> AsyncIterator[AsyncConnection]:
    """One transaction for all migrations.

    SQLite changes a table by making a new one and dropping the old, and dropping would empty, by ON DELETE CASCADE,
    whatever refers to it. So references are not enforced meanwhile, and are checked before the commit (the procedure of
    https://www.sqlite.org/lang_altertable.html#otheralter). The switch works outside of transactions only.
    """
    async with engines.writer.connect() as connection:
        if connection.dialect.name != "sqlite":
            async with connection.begin():
                yield connection
            return
        driver: Any = (await connection.get_raw_connection()).driver_connection
        [[patience]] = await driver.execute_fetchall("PRAGMA busy_timeout")
        await driver.execute("PRAGMA foreign_keys=OFF")
        await driver.execute(f"PRAGMA busy_timeout={_TURN_SECONDS * 1000}")
        try:
            async with connection.begin():
                yield connection
                broken = (await connection.execute(text("PRAGMA foreign_key_check"))).all()
                assert not broken, f"a migration left rows that refer to nothing: {broken[:3]}"
        finally:
            await driver.execute(f"PRAGMA busy_timeout={patience}")
            await driver.execute("PRAGMA foreign_keys=ON")


async def check(engines: Engines) -> None:
    """Compare the database with the tables in code. Raises `alembic.util.AutogenerateDiffsDetected`."""
    async with engines.writer.connect() as connection:
        await connection.run_sync(_run, command.check)


def _run(connection: Connection, action: Any, *args: str) -> None:
    action(config(connection=connection), *args)


def _found(connection: Connection) -> Found:
    heads = MigrationContext.configure(connection).get_current_heads()
    ours = {str(JobRecord.__tablename__), str(TagRecord.__tablename__)}
    return Found(" and ".join(heads) or None, not ours.isdisjoint(inspect(connection).get_table_names()))
