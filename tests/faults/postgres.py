"""The PostgreSQL of a house: it may be killed and frozen, and what was committed survives."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import asyncpg

from tests.faults.records import upgrade
from tests.support.postgres import PostgresServer

DATABASE = "milepost"


class Postgres(PostgresServer):
    """A server with one database, that of the records."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, survives_kill=True)
        folder.mkdir(parents=True)
        self.records = self.url.replace("/postgres", f"/{DATABASE}")

    async def new_database(self) -> str:
        """Make it, bring it up to date, and return its URL."""
        await self.ask(f"CREATE DATABASE {DATABASE}", self.url)
        url = self.records.replace("postgresql:", "postgresql+asyncpg:")
        await upgrade(url)
        return url

    async def connections(self) -> list[str]:
        """Return the state of every connection to the records."""
        asked = f"SELECT state FROM pg_stat_activity WHERE datname = '{DATABASE}' AND pid <> pg_backend_pid()"
        return [str(row["state"]) for row in await self.ask(asked)]

    async def ask(self, query: str, url: str | None = None) -> list[Any]:
        connection = await asyncpg.connect(url or self.url)
        try:
            return list(await connection.fetch(query))
        finally:
            await connection.close()
