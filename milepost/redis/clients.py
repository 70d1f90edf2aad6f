"""Clients of Redis: for commands, for a subscription, for a thread."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from redis import ConnectionPool as SyncConnectionPool
from redis import Redis as SyncRedis
from redis.asyncio import ConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import ExponentialBackoff
from redis.retry import Retry as SyncRetry

from milepost.redis.address import parse
from milepost.redis.sturdy import Sturdy, SturdySync
from milepost.redis.trouble import TRANSIENT

if TYPE_CHECKING:
    from milepost.redis.sentinel import Sentinels, SyncSentinels

CONNECT_SECONDS = 2.0
REPLY_SECONDS = 10.0
FOLLOWED_REPLY_SECONDS = 3.0
"""The same for a thread that follows Sentinels: it hears of a failover only when it has given up waiting."""


def connect(url: str, *, retries: int = 3, max_connections: int | None = None) -> Redis:
    """Return a pooled asyncio client for commands; replies are bytes. No connection is made yet."""
    backoff = ExponentialBackoff(cap=1.0, base=0.05)
    return _client(url, retry=Retry(backoff, retries), max_connections=max_connections, **_options())


def connect_subscriber(url: str) -> Redis:
    """Return an asyncio client for one subscription: it may stay silent for ever, so reads have no limit.

    It does not retry by itself: whoever subscribes must know that messages were missed.
    """
    return _client(url, socket_connect_timeout=CONNECT_SECONDS, socket_timeout=None, socket_keepalive=True)


def connect_sync(url: str, *, retries: int = 0) -> SyncRedis:
    """Return a client for a thread of its own."""
    address = parse(url)
    backoff = ExponentialBackoff(cap=1.0, base=0.05)
    options = {**_options(), "retry": SyncRetry(backoff, retries)}
    if address.sentinels:
        options["socket_timeout"] = FOLLOWED_REPLY_SECONDS
    pool = _SyncPool.from_url(address.plain, **options)
    mixed: tuple[type, ...] = (
        SturdySync,
        pool.connection_class,
    )  # its URL has chosen it: plain, TLS, a socket file
    if address.sentinels:
        from milepost.redis.sentinel import FollowsSync, SyncSentinels

        pool.sentinels = pool.connection_kwargs["sentinels"] = SyncSentinels(address, _tls(pool))
        mixed = (FollowsSync, *mixed)
    pool.connection_class = type("SturdyConnection", mixed, {})
    return SyncRedis.from_pool(pool)


def _options() -> dict[str, Any]:
    return {
        "socket_connect_timeout": CONNECT_SECONDS,
        "socket_timeout": REPLY_SECONDS,
        "socket_keepalive": True,
        # A connection that has idled is checked before use: a half-open one would eat a command.
        "health_check_interval": 15,
        "retry_on_error": list(TRANSIENT),
    }


class _Pool(ConnectionPool):
    """Closes the connections to the Sentinels with its own."""

    sentinels: Sentinels | None = None

    async def disconnect(self, inuse_connections: bool = True) -> None:
        await super().disconnect(inuse_connections)
        if inuse_connections and self.sentinels is not None:
            await self.sentinels.close()


class _SyncPool(SyncConnectionPool):
    sentinels: SyncSentinels | None = None

    def disconnect(self, inuse_connections: bool = True) -> None:
        super().disconnect(inuse_connections)
        if inuse_connections and self.sentinels is not None:
            self.sentinels.close()


def _client(url: str, **options: Any) -> Redis:
    address = parse(url)
    pool = _Pool.from_url(address.plain, **options)
    mixed: tuple[type, ...] = (Sturdy, pool.connection_class)
    if address.sentinels:
        from milepost.redis.sentinel import Follows, Sentinels

        pool.sentinels = pool.connection_kwargs["sentinels"] = Sentinels(address, _tls(pool))
        mixed = (Follows, *mixed)
    pool.connection_class = type("SturdyConnection", mixed, {})
    return Redis.from_pool(pool)


def _tls(pool: Any) -> dict[str, Any]:
    return {name: value for name, value in pool.connection_kwargs.items() if name.startswith("ssl_")}
