"""The database before and beside serving: made ready, upgraded, looked at."""

from __future__ import annotations

import structlog

from milepost_api.records import open_engines, schema
from milepost_api.records.revisions import Found
from milepost_api.settings import ApiSettings

log = structlog.get_logger()


async def prepare(settings: ApiSettings) -> None:
    """See to it that the database can be served.

    Raises `SettingsError` when somebody has to do something first, `StoreUnavailable`.
    """
    async with open_engines(settings.database, statement_seconds=None) as engines:
        if engines.reader.dialect.name != "sqlite":
            await schema.require_current(engines)  # replicas start together; a migration is a step of its own
            return
        done = await schema.upgrade(engines)  # this file is nobody else's
    if done.backup:
        log.info("the database was copied before its migration", backup=str(done.backup))
    if done.migrations and done.before:
        log.info("the database was migrated", before=done.before, migrations=done.migrations)


async def upgrade(settings: ApiSettings) -> schema.Upgraded:
    """Bring the database to the version of this code. Raises `SettingsError`, `StoreUnavailable`."""
    async with open_engines(settings.database, statement_seconds=None) as engines:
        return await schema.upgrade(engines)


async def look(settings: ApiSettings) -> Found:
    """Return where the database stands. Raises `SettingsError`, `StoreUnavailable`."""
    if settings.sqlite_path is not None and not settings.sqlite_path.exists():
        return Found(None, has_tables=False)  # looking at it would make it
    async with open_engines(settings.database) as engines:
        return await schema.look(engines)
