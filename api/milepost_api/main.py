"""`milepost api`, `milepost db ...`: load settings, refuse in sentences, serve.

What serving needs is imported when it is needed: a refusal does not wait for a web framework.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import sys
from collections.abc import Callable, Sequence
from typing import Any

from milepost.errors import SettingsError, StoreUnavailable
from milepost.logs import configure_logs
from milepost.settings import load
from milepost_api.settings import ApiSettings

EXIT_REFUSED = 2  # a setting, or the schema: somebody has to do something
COLLECTED_EVERY = (20_000, 20, 50)
"""Objects, young collections, middle collections."""
EXIT_UNREACHABLE = 4  # the database: it may come, start again
USAGE = """\
Usage: milepost api          serve (settings: MILEPOST_HOST, MILEPOST_PORT, MILEPOST_DATABASE_URL, ...)
       milepost db upgrade   bring the database to the version of this code
       milepost db current   say where the database stands"""


def main(argv: Sequence[str] | None = None, **given: Any) -> int:
    """Run the API, or one of the `db` commands. `given` settings win over the environment.

    Returns the exit code: 0, 1 if the server could not start, 2 for a wrong setting, a schema that is not
    this version's or an unknown command, 4 if the database cannot be reached, 130 after Ctrl-C.
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
    spare_the_collector()
    return serve(create_app(settings), settings)


def spare_the_collector() -> None:
    """Keep garbage collection from holding up every stream of the process.

    A full collection looks at each object there is: with all that was imported and a thousand streams that is 0.2 to
    0.4 s, again and again while streams open, since what a stream consists of outlives the young generations. What is
    here now stays until the process ends, so it is not looked at again; and the older generations are looked at less
    often: a stream that ends leaves no cycles behind (tests/integration/test_lanes.py).
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(*COLLECTED_EVERY)


def db_upgrade(settings: ApiSettings) -> int:
    """Bring the database to the version of this code. Raises `SettingsError`, `StoreUnavailable`."""
    from milepost_api import database
    from milepost_api.records.revisions import head

    done = asyncio.run(database.upgrade(settings))
    if not done.migrations:
        print(f"The database is at revision {head()} already; nothing was done.")
        return 0
    if done.backup:
        print(f"Copied to {done.backup} first.")
    was = f"was at revision {done.before}" if done.before else "was empty"
    print(f"The database {was} and is at revision {head()} now. Done:")
    print("\n".join(f"  {migration}" for migration in done.migrations))
    return 0


def db_current(settings: ApiSettings) -> int:
    """Print the revision of the database and the one this code needs. Raises `SettingsError`, `StoreUnavailable`."""
    from milepost_api import database
    from milepost_api.records.revisions import head

    found = asyncio.run(database.look(settings))
    print(f"database: {found.revision or 'none'} ({found.fitness})\nneeded:   {head()}")
    if found.refusal:
        print(found.refusal)
    return 0


def _refuse(sentence: str, code: int) -> int:
    print(sentence, file=sys.stderr)
    return code
