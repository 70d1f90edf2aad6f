"""Whether each part of Milepost can be used yet. False means: ask again; nothing here raises for that."""

from __future__ import annotations

import asyncio
from contextlib import suppress

ANSWER_SECONDS = 2.0


async def redis(url: str) -> bool:
    """Whether Redis answers commands (it does not while it loads its append-only file)."""
    from redis.exceptions import RedisError

    from milepost.redis import connect

    client = connect(url, retries=0)
    try:
        async with asyncio.timeout(ANSWER_SECONDS):
            return bool(await client.ping())
    except (RedisError, OSError):  # OSError: refused, or no answer in time
        return False
    finally:
        await client.aclose()


async def worker(redis_url: str, pid: int) -> bool:
    """Whether the worker with this pid has announced itself and its tasks."""
    from redis.exceptions import RedisError

    from milepost.log import Catalogue
    from milepost.redis import connect

    client = connect(redis_url, retries=0)
    try:
        async with asyncio.timeout(ANSWER_SECONDS):
            return any(info.pid == pid for info in await Catalogue(client).workers())
    except (RedisError, OSError):
        return False
    finally:
        await client.aclose()


async def api(host: str, port: int) -> bool:
    """Whether `GET /readyz` answers 200. Two lines of HTTP by hand spare the supervisor an HTTP client."""
    address = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 -- compared with, not bound to
    try:
        async with asyncio.timeout(ANSWER_SECONDS):
            reader, writer = await asyncio.open_connection(address, port)
            try:
                request = f"GET /readyz HTTP/1.1\r\nHost: {host}:{port}\r\nConnection: close\r\n\r\n"
                writer.write(request.encode("ascii"))
                return b" 200 " in await reader.readline()
            finally:
                writer.close()
                with suppress(OSError):
                    await writer.wait_closed()
    except (OSError, ValueError):  # ValueError: a first line longer than any of HTTP
        return False
