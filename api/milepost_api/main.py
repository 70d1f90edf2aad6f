"""`milepost api`, `milepost db ...`: load settings, refuse in sentences, serve."""

from __future__ import annotations

import asyncio
import logging
import sys
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar

from milepost.errors import SettingsError, StoreUnavailable
from milepost.logs import configure_logs
from milepost.settings import load
from milepost_api.app import create_app
from milepost_api.records import Engines, open_engines, schema
from milepost_api.server import serve
from milepost_api.settings import ApiSettings

EXIT_REFUSED = 2  # a setting, or an old schema: somebody has to do something
EXIT_UNREACHABLE = 4  # the database: it may come, start again
T = TypeVar("T")
USAGE = """\
Usage: milepost api          serve (settings: MILEPOST_HOST, MILEPOST_PORT, MILEPOST_DATABASE_URL, ...)
       milepost db upgrade   bring the database to the version of this code
       milepost db current   say where the database stands"""


def main(argv: Sequence[str] | None = None, **given: Any) -> int:
    """Run the API, or one of the `db` commands. `given` settings win over the environment.

    Returns the exit code: 0, 1 if the server could not start, 2 for a wrong setting, an old schema or an
    unknown command, 4 if the database cannot be reached, 130 after Ctrl-C.
    """
    commands: dict[tuple[str, ...], Callable[[ApiSettings], int]] = {
        (): run,
        ("db", "upgrade"): db_upgrade,
        ("db", "current"): db_current,
    }
    words = tuple(sys.argv[1:] if argv is None else argv)
    if words in (("--help",), ("-h",)):
        print(USAGE)
        return 0
    command = commands.get(words)
    if command is None:
        return _refuse(USAGE, EXIT_REFUSED)
    try:
        return command(load(ApiSettings, **given))
    except SettingsError as error:
        return _refuse(str(error), EXIT_REFUSED)
    except StoreUnavailable as error:
        return _refuse(f"{error} ({error.__cause__})", EXIT_UNREACHABLE)


def run(settings: ApiSettings) -> int:
    """Serve until a signal comes. Raises `SettingsError`, `StoreUnavailable`."""
    configure_logs(settings)
    logging.getLogger("alembic").setLevel(logging.WARNING)  # it tells of every look at the schema
    asyncio.run(_with_database(settings, _prepare))
    return serve(create_app(settings), settings)


def db_upgrade(settings: ApiSettings) -> int:
    """Bring the database to the version of this code. Raises `StoreUnavailable`."""
    asyncio.run(_with_database(settings, schema.upgrade))
    print(f"The database is at revision {schema.head()}.")
    return 0


def db_current(settings: ApiSettings) -> int:
    """Print the revision of the database and the one this code needs. Raises `StoreUnavailable`."""
    found = asyncio.run(_with_database(settings, schema.current))
    print(f"database: {found or 'empty'}\nneeded:   {schema.head()}")
    return 0


async def _prepare(engines: Engines) -> None:
    if engines.reader.dialect.name == "sqlite":
        await schema.upgrade(engines)  # nobody else runs this file's database
    else:
        await schema.require_current(engines)  # replicas start together; a migration is a step of its own


async def _with_database(settings: ApiSettings, action: Callable[[Engines], Awaitable[T]]) -> T:
    async with open_engines(settings.database) as engines:
        return await action(engines)


def _refuse(sentence: str, code: int) -> int:
    print(sentence, file=sys.stderr)
    return code
