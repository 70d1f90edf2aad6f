"""Connections to Redis or Valkey, configured so that a restart of it is an interruption and not an end.

arq holds redis-py below 6; what is used here behaves the same on 5, 6, 7 and 8.
"""

from __future__ import annotations

from typing import Any, cast
from urllib.parse import urlsplit

from redis import Redis as SyncRedis
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import ExponentialBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import NoScriptError, OutOfMemoryError, ReadOnlyError, ResponseError
from redis.exceptions import TimeoutError as RedisTimeoutError
from redis.retry import Retry as SyncRetry

from milepost.errors import SettingsError

# OSError: a refused connection surfaces as the builtin one, and without it nothing is retried (arq.md §2).
_TRANSIENT: list[type[Exception]] = [RedisConnectionError, RedisTimeoutError, OSError]
UNREACHABLE = (RedisConnectionError, RedisTimeoutError, OSError)
"""What a command raises when Redis cannot be reached; everything else is an answer."""

CONNECT_SECONDS = 2.0
REPLY_SECONDS = 10.0


def _options() -> dict[str, Any]:
    return {
        "socket_connect_timeout": CONNECT_SECONDS,
        "socket_timeout": REPLY_SECONDS,
        "socket_keepalive": True,
        # A connection that has idled is checked before use: a half-open one would eat a command.
        "health_check_interval": 15,
        "retry_on_error": list(_TRANSIENT),
    }


def connect(url: str, *, retries: int = 3, max_connections: int | None = None) -> Redis:
    """Return a pooled asyncio client for commands; replies are bytes. No connection is made yet."""
    backoff = ExponentialBackoff(cap=1.0, base=0.05)
    client = Redis.from_url(url, retry=Retry(backoff, retries), max_connections=max_connections, **_options())
    return _sturdy(client)


def connect_subscriber(url: str) -> Redis:
    """Return an asyncio client for one subscription: it may stay silent for ever, so reads have no limit.

    It does not retry by itself: whoever subscribes must know that messages were missed.
    """
    client = Redis.from_url(
        url, socket_connect_timeout=CONNECT_SECONDS, socket_timeout=None, socket_keepalive=True
    )
    return _sturdy(client)


class _Sturdy:
    """Mixed into a connection: whatever the event loop calls it, a connection that is gone is unreachable.

    uvloop raises `RuntimeError` ("the handler is closed") when something is written after a reset, where asyncio
    only takes note. Nothing that waits for Redis to come back would understand that.
    """

    async def send_packed_command(self, *args: Any, **kwargs: Any) -> None:
        try:
            await super().send_packed_command(*args, **kwargs)  # type: ignore[misc]
        except RuntimeError as error:
            raise RedisConnectionError(
                f"The connection was closed while a command was sent: {error}"
            ) from error


def _sturdy(client: Any) -> Redis:
    pool = client.connection_pool
    kind = pool.connection_class  # its URL has chosen it: plain, TLS, a socket in the file system
    pool.connection_class = type(f"Sturdy{kind.__name__}", (_Sturdy, kind), {})
    return cast("Redis", client)


def connect_sync(url: str, *, retries: int = 0) -> SyncRedis:
    """Return a client for a thread of its own."""
    backoff = ExponentialBackoff(cap=1.0, base=0.05)
    return SyncRedis.from_url(url, retry=SyncRetry(backoff, retries), **_options())


def check_url(url: str) -> None:
    """Raise `SettingsError` when this cannot be the address of a Redis: nobody has to be asked to see that."""
    try:
        connections = Redis.from_url(url).connection_pool
        connections.make_connection()  # it refuses options that it does not know; nothing is sent yet
        database = urlsplit(url).path.strip("/") if "://" in url and not url.startswith("unix") else ""
        if database and not database.isdecimal():
            raise ValueError(f"{database!r} is no number of a database")  # redis-py would quietly take 0
    except (ValueError, TypeError) as error:
        why = str(error).partition("\n")[0].removesuffix(".")
        example = "redis://[:PASSWORD@]HOST:6379/0"
        raise SettingsError(
            f"MILEPOST_REDIS_URL is no address of a Redis ({why}): write {example}."
        ) from None


def place(url: str) -> str:
    """Return where that is, without user and password."""
    parts = urlsplit(url)
    return parts.path if parts.scheme == "unix" else f"{parts.hostname or 'localhost'}:{parts.port or 6379}"


def is_transient(error: Exception) -> bool:
    """Whether the same command may succeed later: the server is away, full, read-only, busy or newly started."""
    if not isinstance(error, ResponseError):
        return isinstance(error, UNREACHABLE)
    # redis-py cuts the code off the text of the errors that it has a class for.
    return isinstance(error, NoScriptError | OutOfMemoryError | ReadOnlyError) or str(error).startswith(
        ("BUSY", "CLUSTERDOWN", "MASTERDOWN", "MISCONF", "NOREPLICAS", "TRYAGAIN")
    )
