"""`milepost worker --check`: whether a worker of this host is there, for health checks. Quick: it imports little."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Sequence

import click

ANSWER_SECONDS = 4.0

WELL, ILL = 0, 1


def check(queues: Sequence[str] = (), modules: Sequence[str] = (), pid: int | None = None) -> int:
    """Return 0 if a worker of this host that fits has announced itself lately, else 1 after a sentence on stderr.

    0 as well when Redis cannot be asked: a worker does not die of that, and whoever restarted it for it would only have
    its jobs handed back. The sentence is said all the same.
    """
    code, sentence = asyncio.run(look(queues, modules, pid))
    if sentence:
        click.echo(f"milepost worker: {sentence}", err=True)
    return code


async def look(
    queues: Sequence[str] = (), modules: Sequence[str] = (), pid: int | None = None
) -> tuple[int, str]:
    """Return the exit code and the sentence of `check`, "" when all is well."""
    from redis.exceptions import RedisError

    from milepost.log import Catalogue
    from milepost.log.catalogue import ANNOUNCEMENT_HOLDS_SECONDS
    from milepost.redis import check_url, connect, place

    url = os.environ.get("MILEPOST_REDIS_URL") or "redis://127.0.0.1:6379/0"
    check_url(url)
    redis = connect(url, retries=0)
    try:
        async with asyncio.timeout(ANSWER_SECONDS):
            workers = await Catalogue(redis).workers()
    except (RedisError, OSError) as error:  # OSError: no answer in time, too
        return WELL, f"Nobody can tell how the worker is: Redis at {place(url)} does not answer ({error})."
    finally:
        await redis.aclose()
    host = socket.gethostname()
    here = [one for one in workers if one.host == host and pid in {None, one.pid}]
    who = f"worker on {host}" if pid is None else f"worker with process id {pid} on {host}"
    if not here:
        return ILL, f"No {who} has announced itself within the last {ANNOUNCEMENT_HOLDS_SECONDS:.0f} s."
    if not any(set(queues) <= {*one.queues} and set(modules) <= {*one.modules} for one in here):
        wanted = [*(f"queue {name}" for name in queues), *(f"module {name}" for name in modules)]
        return ILL, f"No {who} serves {' and '.join(wanted)}."
    return WELL, ""
