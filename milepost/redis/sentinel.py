"""Following the master that Sentinels name. See https://redis.io/docs/latest/develop/reference/sentinel-clients/.

redis-py has pools for this. Theirs try one address several times before they ask again, keep what waits for the answer
of a frozen master until it times out, stay with an old master that still takes writes, and do not notice a replica
that refuses inside of a transaction. Here whoever connects asks, each time; and the Sentinels are listened to, so
that every connection to another than the master is dropped as soon as they say so.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import Any
from weakref import WeakSet

import structlog
from redis import Redis as SyncRedis
from redis.asyncio import Redis
from redis.exceptions import RedisError

from milepost.background import end
from milepost.redis.address import Address
from milepost.redis.trouble import MasterMoved, NoMaster, refusal, words

log = structlog.get_logger("milepost.redis")

ASK_SECONDS = 1.0
"""A Sentinel answers at once; one that does not is passed over."""

LOOK_SECONDS = 5.0
"""How often the master is asked for besides: what a Sentinel announces may be lost."""

LOOK_SYNC_SECONDS = 1.0
"""The same for a thread, which does not listen: reports to an old master are lost for at most so long."""

AGAIN_SECONDS = 0.5
SWITCHED = "+switch-master"
QUESTION = "SENTINEL GET-MASTER-ADDR-BY-NAME"
Place = tuple[str, int]


def sentinel_options(address: Address, tls: dict[str, Any]) -> dict[str, Any]:
    """Return how to connect to a Sentinel. `tls`: the options of the master's connections; Sentinels share them."""
    return {
        "username": address.sentinel_username,
        "password": address.sentinel_password,
        "socket_connect_timeout": ASK_SECONDS,
        "socket_timeout": ASK_SECONDS,
        "socket_keepalive": True,
        **({"ssl": True, **tls} if address.tls else {}),
    }


class Sentinels:
    """Asks them on an event loop, and listens to one of them while anybody is connected."""

    def __init__(self, address: Address, tls: dict[str, Any]) -> None:
        self._address = address
        options = sentinel_options(address, tls)
        self._clients = [Redis(host=host, port=port, **options) for host, port in address.sentinels]
        self._followers: WeakSet[Follows] = WeakSet()
        self._master: Place | None = None
        self._listening: asyncio.Task[None] | None = None

    async def master(self) -> Place:
        """Return host and port of the master. Raises `NoMaster`, or what a Sentinel refuses us with."""
        troubles: list[Exception] = []
        for client in list(self._clients):
            try:
                place = await self._ask(client)
            except (RedisError, OSError) as error:
                troubles.append(error)
                continue
            self._clients.remove(client)
            self._clients.insert(0, client)  # the one that answers is asked first
            return place
        raise no_master(self._address, troubles)

    def follow(self, follower: Follows) -> None:
        """Have this connection dropped when it leads to the wrong server."""
        self._followers.add(follower)
        if self._listening is None or self._listening.done():
            self._listening = asyncio.create_task(self._listen(), name="sentinels")

    async def close(self) -> None:
        """End the listening, and every connection to a Sentinel."""
        listening, self._listening = self._listening, None
        if listening is not None:
            await end(listening)
        for client in self._clients:
            await client.aclose()

    async def _ask(self, client: Redis) -> Place:
        answer = await client.execute_command(QUESTION, self._address.service)  # type: ignore[no-untyped-call]
        place = named(answer, self._address)
        if place != self._master:
            if self._master is not None:
                log.info("redis.master_moved", service=self._address.service, to="{}:{}".format(*place))
            self._master = place
        for follower in list(self._followers):
            if (follower.host, follower.port) != place:
                follower.drop()
        return place

    async def _listen(self) -> None:
        while True:
            for client in list(self._clients):
                try:
                    await self._listen_to(client)
                except (RedisError, OSError) as error:
                    log.debug("redis.sentinel_away", error=str(error))  # another one is listened to
            await asyncio.sleep(AGAIN_SECONDS)

    async def _listen_to(self, client: Redis) -> None:
        heard = client.pubsub()
        try:
            await heard.subscribe(SWITCHED)
            while True:
                await self._ask(client)  # also after the subscription: what was announced before it
                await heard.get_message(timeout=LOOK_SECONDS)
        finally:
            await heard.aclose()  # type: ignore[no-untyped-call]


class Follows:
    """Mixed into a connection of asyncio: it leads to the master, or nowhere."""

    host: str
    port: int

    def __init__(self, *, sentinels: Sentinels, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._sentinels = sentinels

    async def _connect(self) -> None:
        # Below redis-py's repetition: each attempt asks anew.
        self.host, self.port = await self._sentinels.master()
        await super()._connect()  # type: ignore[misc]
        self._sentinels.follow(self)

    def drop(self) -> None:
        """Close it under whoever waits for an answer; it does not matter whether the server would take part."""
        if writer := getattr(self, "_writer", None):
            writer.transport.abort()


class SyncSentinels:
    """Asks them in a thread."""

    def __init__(
        self, address: Address, tls: dict[str, Any], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._address, self._clock = address, clock
        options = sentinel_options(address, tls)
        self._clients = [SyncRedis(host=host, port=port, **options) for host, port in address.sentinels]
        self._asked_at = clock()

    def master(self) -> Place:
        """Return host and port of the master. Raises `NoMaster`, or what a Sentinel refuses us with."""
        troubles: list[Exception] = []
        self._asked_at = self._clock()
        for client in list(self._clients):
            try:
                answer = client.execute_command(QUESTION, self._address.service)  # type: ignore[no-untyped-call]
                place = named(answer, self._address)
            except (RedisError, OSError) as error:
                troubles.append(error)
                continue
            self._clients.remove(client)
            self._clients.insert(0, client)
            return place
        raise no_master(self._address, troubles)

    def have_left(self, place: Place) -> bool:
        """Whether the master is known to be elsewhere. Asks at most every second."""
        if self._clock() - self._asked_at < LOOK_SYNC_SECONDS:
            return False
        try:
            return self.master() != place
        except (RedisError, OSError) as error:
            log.debug("redis.sentinel_away", error=str(error))
            return False  # whoever has a connection can do without Sentinels

    def close(self) -> None:
        for client in self._clients:
            client.close()


class FollowsSync:
    """Mixed into a connection of a thread."""

    host: str
    port: int

    def __init__(self, *, sentinels: SyncSentinels, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._sentinels = sentinels

    def _connect(self) -> Any:
        self.host, self.port = self._sentinels.master()
        return super()._connect()  # type: ignore[misc]

    def send_packed_command(self, *args: Any, **kwargs: Any) -> None:
        if getattr(self, "_sock", None) is not None and self._sentinels.have_left((self.host, self.port)):
            self.disconnect()  # type: ignore[attr-defined]
            raise MasterMoved(f"{self.host}:{self.port} is not the master any more.")
        super().send_packed_command(*args, **kwargs)  # type: ignore[misc]


def named(answer: Sequence[Any] | None, address: Address) -> Place:
    """Return the place that a Sentinel has named. Raises `NoMaster` when it has named none."""
    if answer is None:
        raise NoMaster(
            f"The Sentinels know no master named {address.service!r}; "
            "the path of MILEPOST_REDIS_URL is the name that `sentinel monitor` gives it."
        )
    host, port = answer
    return (host.decode() if isinstance(host, bytes) else str(host)), int(port)


def no_master(address: Address, troubles: Sequence[Exception]) -> Exception:
    """Return what to raise when no Sentinel has named a master, after these troubles, one for each."""
    for trouble in troubles:
        if (refused := refusal(trouble)) is not None:
            return type(refused)(
                f"A Sentinel refuses us: {words(refused)}; Sentinels have users of their own, "
                "?sentinel_username=...&sentinel_password=... in MILEPOST_REDIS_URL"
            )
    for trouble in troubles:
        if isinstance(trouble, NoMaster):
            return trouble
    hosts = ", ".join(f"{host}:{port}" for host, port in address.sentinels)
    return NoMaster(f"No Sentinel answers, neither of {hosts}: {words(troubles[-1])}")
