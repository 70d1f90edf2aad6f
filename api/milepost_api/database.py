"""The database before and beside serving: made ready, upgraded, looked at."""

from __future__ import annotations

from milepost_api.records import open_engines, schema
from milepost_api.settings import ApiSettings


async def prepare(settings: ApiSettings) -> None:
    """See to it that the database can be served.

    Raises `SettingsError` when somebody has to upgrade it first, `StoreUnavailable`.
    """
    async with open_engines(settings.database) as engines:
        if engines.reader.dialect.name == "sqlite":
            await schema.upgrade(engines)  # this file is nobody else's
        else:
            await schema.require_current(engines)  # replicas start together; a migration is a step of its own


async def upgrade(settings: ApiSettings) -> str:
    """Bring the database to the version of this code and return it. Raises `StoreUnavailable`."""
    async with open_engines(settings.database, statement_seconds=None) as engines:
        await schema.upgrade(engines)
    return schema.head()


async def versions(settings: ApiSettings) -> tuple[str | None, str]:
    """Return the version of the database (None: empty) and the one needed. Raises `StoreUnavailable`."""
    async with open_engines(settings.database) as engines:
        return await schema.current(engines), schema.head()
