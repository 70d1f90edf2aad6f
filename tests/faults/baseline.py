"""What a house at rest may hold: connections, files, subscriptions, events on their way, open records.

Pools keep some connections open; these limits are what 50 jobs and 50 readers leave behind, however often they come.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import psutil
from sqlalchemy import create_engine, text

from milepost.log.keys import LIFECYCLE
from milepost.log.lifecycle import GROUP

if TYPE_CHECKING:
    from tests.faults.house import House
    from tests.support.process import Process

REDIS_CONNECTIONS = 20  # of one API: its subscription, its background work, its pool
HTTP_CONNECTIONS = 2  # to one API: the suite's own client keeps some alive
FILES = (
    40  # of one API that are no connections: its log, its libraries, its pool for SQLite, three files each
)
DATABASE_CONNECTIONS = 5  # of one API: SQLAlchemy's pool
_OPEN = frozenset({psutil.CONN_ESTABLISHED, psutil.CONN_CLOSE_WAIT})
OPEN = "SELECT id FROM jobs WHERE NOT done"


async def excess(house: House) -> list[str]:
    """Return a sentence for everything that is held and should not be."""
    too_much = [sentence for api in house.stack.apis for sentence in _held(house, api)]
    too_much += await asyncio.to_thread(lambda: list(_in_redis(house)))
    return too_much + await _in_sql(house)


def _held(house: House, api: Process) -> Iterator[str]:
    process = psutil.Process(api.pid)
    sockets = process.net_connections("tcp")
    if (files := process.num_fds() - len(sockets)) > FILES:
        yield f"{api.name} holds {files} files"
    counts = Counter(_what(house, one) for one in sockets if one.status in _OPEN)
    for what, most in (("redis", REDIS_CONNECTIONS), ("http", HTTP_CONNECTIONS)):
        if counts[what] > most:
            yield f"{api.name} holds {counts[what]} connections ({what})"
    # A pool notices that a connection was closed when it next hands it out: those to servers are counted above.
    half = [one for one in sockets if one.status == psutil.CONN_CLOSE_WAIT and _what(house, one) == "http"]
    if half:
        yield f"{api.name} has not closed {len(half)} connections that its clients have closed"


def _what(house: House, connection: Any) -> str:
    if connection.raddr.port in house.redis_ports:
        return "redis"
    return "http" if any(url.endswith(f":{connection.laddr.port}") for url in house.stack.urls) else "other"


def _in_redis(house: House) -> Iterator[str]:
    with house.redis.client() as redis:
        watched = [name.decode() for name in redis.pubsub_channels("mp:{*}:live")]
        if watched:
            yield f"{len(watched)} jobs are still watched, {watched[0]} is one of them"
        pending = [] if not redis.exists(LIFECYCLE) else redis.xinfo_groups(LIFECYCLE)
        for group in pending:
            if group["name"] == GROUP.encode() and group["pending"]:
                yield f"{group['pending']} events were given to recorders and not acknowledged"
        if (left := redis.xlen(LIFECYCLE)) > 0:
            yield f"{left} events are not recorded"


async def _in_sql(house: House) -> list[str]:
    if house.postgres is None:
        opened = await asyncio.to_thread(_sqlite_rows, house.database_url.replace("+aiosqlite", ""))
        states: list[str] = []
    else:
        opened = [row["id"] for row in await house.postgres.ask(OPEN, house.postgres.records)]
        states = await house.postgres.connections()
    too_much = [f"{len(opened)} jobs are open in SQL, {opened[0]} is one of them"] if opened else []
    if busy := [state for state in states if state.startswith("idle in transaction")]:
        too_much.append(f"{len(busy)} transactions are open")
    if len(states) > DATABASE_CONNECTIONS * len(house.stack.apis):
        too_much.append(f"the APIs hold {len(states)} connections to the database")
    return too_much


def _sqlite_rows(url: str) -> list[str]:
    engine = create_engine(url)
    try:
        with engine.connect() as connection:
            return [row[0] for row in connection.execute(text(OPEN))]
    finally:
        engine.dispose()
