"""Connections to Redis or Valkey, configured so that a restart of it is an interruption and not an end.

arq holds redis-py below 6; what is used here behaves the same on 5, 6, 7 and 8.
"""

from __future__ import annotations

from typing import Any, cast

from redis import Redis as SyncRedis
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import ExponentialBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import NoScriptError, OutOfMemoryError, ReadOnlyError, ResponseError
from redis.exceptions import TimeoutError as RedisTimeoutError
from redis.retry import Retry as SyncRetry

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
    return cast("Redis", client)


def connect_subscriber(url: str) -> Redis:
    """Return an asyncio client for one subscription: it may stay silent for ever, so reads have no limit.

    It does not retry by itself: whoever subscribes must know that messages were missed.
    """
    client = Redis.from_url(
        url, socket_connect_timeout=CONNECT_SECONDS, socket_timeout=None, socket_keepalive=True
    )
    return cast("Redis", client)


def connect_sync(url: str, *, retries: int = 0) -> SyncRedis:
    """Return a client for a thread of its own."""
    backoff = ExponentialBackoff(cap=1.0, base=0.05)
    return SyncRedis.from_url(url, retry=SyncRetry(backoff, retries), **_options())


def is_transient(error: Exception) -> bool:
    """Whether the same command may succeed later: the server is away, full, read-only, busy or newly started."""
    if not isinstance(error, ResponseError):
        return isinstance(error, UNREACHABLE)
    # redis-py cuts the code off the text of the errors that it has a class for.
    return isinstance(error, NoScriptError | OutOfMemoryError | ReadOnlyError) or str(error).startswith(
        ("BUSY", "CLUSTERDOWN", "MASTERDOWN", "MISCONF", "NOREPLICAS", "TRYAGAIN")
    )
