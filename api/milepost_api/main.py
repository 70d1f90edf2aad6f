"""`milepost api`, `milepost db ...`: load settings, refuse in sentences, serve.

What serving needs is imported when it is needed: a refusal does not wait for a web framework.
"""

from __future__ import annotations

import asyncio
import logging
import sys
from collections.abc import Callable, Sequence
from typing import Any

from milepost.errors import SettingsError, StoreUnavailable
from milepost.logs import configure_logs
from milepost.settings import load
from milepost_api.settings import ApiSettings

EXIT_REFUSED = 2  # a setting, or an old schema: somebody has to do something
EXIT_UNREACHABLE = 4  # the database: it may come, start again
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
    if words and words[-1] in ("--help", "-h"):
        print(USAGE)
        return 0
    if words not in commands:
        return _refuse(USAGE, EXIT_REFUSED)
    try:
        return commands[words](load(ApiSettings, **given))
    except SettingsError as error:
        return _refuse(str(error), EXIT_REFUSED)
    except StoreUnavailable as error:
        return _refuse(f"{error} ({error.__cause__})", EXIT_UNREACHABLE)


def run(settings: ApiSettings) -> int:
    """Serve until a signal comes. Raises `SettingsError`, `StoreUnavailable`."""
    from milepost_api import database
    from milepost_api.app import create_app
    from milepost_api.knocking import check_redis
    from milepost_api.server import serve

    configure_logs(settings)
    logging.getLogger("alembic").setLevel(logging.WARNING)  # it tells of every look at the schema
    asyncio.run(database.prepare(settings))
    asyncio.run(check_redis(settings.redis_url))
    return serve(create_app(settings), settings)


def db_upgrade(settings: ApiSettings) -> int:
    """Bring the database to the version of this code. Raises `StoreUnavailable`."""
    from milepost_api import database

    print(f"The database is at revision {asyncio.run(database.upgrade(settings))}.")
    return 0


def db_current(settings: ApiSettings) -> int:
    """Print the revision of the database and the one this code needs. Raises `StoreUnavailable`."""
    from milepost_api import database

    found, needed = asyncio.run(database.versions(settings))
    print(f"database: {found or 'empty'}\nneeded:   {needed}")
    return 0


def _refuse(sentence: str, code: int) -> int:
    print(sentence, file=sys.stderr)
    return code
