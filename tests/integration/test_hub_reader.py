"""The one subscription of a process: what it hears, and how it finds out that it hears nothing any more."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from itertools import count

import pytest
from milepost_api.hub import feed
from milepost_api.hub.health import Health
from milepost_api.hub.probe import Probe
from milepost_api.hub.reader import Reader
from redis._parsers import _AsyncRESP2Parser
from redis.asyncio import Redis

from milepost.background import end
from milepost.redis import connect_subscriber
from tests.support.proxy import TcpProxy
from tests.support.redis import RedisServer
from tests.support.wait import DEADLINE_SECONDS, eventually

WAYS = ["tapped", "by redis-py", "by redis-py without hiredis"]


@pytest.fixture(params=WAYS)
def subscriber(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Redis]:
    """Make a client whose connections are listened to in one of the ways that there are."""
    if request.param != "tapped":
        monkeypatch.setattr(feed, "Parser", None)

    def connected(url: str) -> Redis:
        client = connect_subscriber(url)
        if request.param == "by redis-py without hiredis":
            client.connection_pool.connection_kwargs["parser_class"] = _AsyncRESP2Parser
        return client

    return connected


class Ears:
    """What a reader heard, and how often it began anew."""

    def __init__(self) -> None:
        self.messages: list[tuple[bytes, bytes]] = []
        self.beginnings = 0
        self.certain = 0

    def hear(self, channel: bytes, message: bytes) -> None:
        self.messages.append((channel, message))

    def begin(self) -> None:
        self.beginnings += 1

    def be_certain(self) -> None:
        self.certain += 1


@asynccontextmanager
async def reading(client: Redis, ears: Ears, **times: float) -> AsyncIterator[Reader]:
    """Let a reader run; with short times unless they are given."""
    given = {"probe_seconds": 0.05, "deadline_seconds": 0.4} | times
    reader = Reader(client, ears.hear, ears.begin, ears.be_certain, **given)
    running = asyncio.create_task(reader.run())
    try:
        await eventually(lambda: reader.connected, "it listens")
        yield reader
    finally:
        await end(running)
        await client.aclose()


# --- what is heard ---------------------------------------------------------------------------------


async def test_all_is_heard_in_order(
    redis_server: RedisServer, redis: Redis, subscriber: Callable[[str], Redis]
) -> None:
    """A flood as well as single messages, large ones that come in many pieces, and nothing of what was given up."""
    ears = Ears()
    async with reading(subscriber(redis_server.url), ears, deadline_seconds=30) as reader:
        for name in ("mp:a", "mp:b", "mp:c"):
            await reader.subscribe(name, DEADLINE_SECONDS)
        await reader.unsubscribe("mp:c")
        sent = [(b"mp:a" if i % 3 else b"mp:b", b"%d %s" % (i, b"x" * (i % 7 * 9000))) for i in range(3000)]
        for start in range(0, 2000, 500):
            async with redis.pipeline(transaction=False) as pipe:
                for channel, message in sent[start : start + 500]:
                    pipe.publish(channel, message)
                    pipe.publish("mp:c", "nobody listens")
                await pipe.execute()
        for channel, message in sent[2000:]:
            await redis.publish(channel, message)
        await eventually(lambda: len(ears.messages) >= len(sent), "all have come")
        assert ears.messages == sent
        assert ears.beginnings == 1


async def test_one_message_is_not_held_back_by_the_flood_before_it(
    redis_server: RedisServer, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While many come the connection is read only so often; it is read again without another one coming."""
    monkeypatch.setattr(feed, "GATHER_SECONDS", 0.2)
    ears = Ears()
    async with reading(connect_subscriber(redis_server.url), ears, probe_seconds=3600) as reader:
        await reader.subscribe("mp:a", DEADLINE_SECONDS)
        for i in range(20):
            await redis.publish("mp:a", str(i))
        await eventually(lambda: len(ears.messages) == 20, "the last ones have come, too")


async def test_what_a_listener_does_wrong_is_told_and_not_lost(
    redis_server: RedisServer, redis: Redis, subscriber: Callable[[str], Redis]
) -> None:
    """A bug in whoever takes the messages ends `run` with it: it is logged where work is kept running."""

    def broken(_channel: bytes, _message: bytes) -> None:
        raise KeyError("bug")

    async with subscriber(redis_server.url) as client:
        reader = Reader(client, broken, lambda: None)
        running = asyncio.create_task(reader.run())
        await reader.subscribe("mp:a", DEADLINE_SECONDS)
        await redis.publish("mp:a", "hello")
        with pytest.raises(KeyError):
            await running
        assert not reader.connected


# --- what is asked for and given up ----------------------------------------------------------------


async def test_what_is_given_up_while_connecting_is_not_subscribed(
    redis_server: RedisServer, redis: Redis
) -> None:
    """A channel that nobody wants any more when the connection is up is not listened to; one asked for is."""
    heard: list[bytes] = []
    async with TcpProxy(redis_server.url) as proxy:
        url = proxy.url
        async with connect_subscriber(url) as client:
            reader = Reader(client, lambda channel, _: heard.append(channel), lambda: None)
            proxy.blackhole()
            given_up = asyncio.create_task(reader.subscribe("given up", DEADLINE_SECONDS))
            await asyncio.sleep(0)
            running = asyncio.create_task(reader.run())
            await eventually(lambda: proxy.connections == 1, "it is connecting")
            wanted = asyncio.create_task(reader.subscribe("wanted", DEADLINE_SECONDS))
            await asyncio.sleep(0)
            given_up.cancel()
            await reader.unsubscribe("given up")
            proxy.restore()
            await wanted
            await eventually(lambda: reader.connected, "it listens")

            async def only_one() -> bool:
                return {b"wanted", reader._own} == set(await redis.pubsub_channels())

            await eventually(only_one, "it listens to what is wanted")
            await end(running, given_up)


async def test_a_channel_asked_for_again_waits_for_its_own_answer(redis_server: RedisServer) -> None:
    """The answer to a subscription that was given up meanwhile says nothing about the next one."""
    async with TcpProxy(redis_server.url) as proxy, connect_subscriber(proxy.url) as client:
        reader = Reader(client, lambda *_: None, lambda: None)
        running = asyncio.create_task(reader.run())
        await eventually(lambda: reader.connected, "it listens")
        proxy.blackhole()  # the answers come when they are let through
        first = asyncio.create_task(reader.subscribe("again", DEADLINE_SECONDS))
        await asyncio.sleep(0)
        await reader.unsubscribe("again")
        second = asyncio.create_task(reader.subscribe("again", DEADLINE_SECONDS))
        await asyncio.sleep(0)
        asked = reader._channels[b"again"]
        reader._take([[b"subscribe", b"again", 1]])
        assert not asked.done()
        reader._take([[b"subscribe", b"again", 1]])
        assert asked.done()
        await second
        await end(first, running)


# --- hearing nothing any more ----------------------------------------------------------------------


async def test_a_connection_that_is_half_open_is_replaced(
    redis_server: RedisServer, redis: Redis, subscriber: Callable[[str], Redis]
) -> None:
    """Both of its connections lead nowhere, and no packet says so: what is published to itself is missed."""
    ears = Ears()
    async with TcpProxy(redis_server.url) as proxy, reading(subscriber(proxy.url), ears) as reader:
        await reader.subscribe("mp:a", DEADLINE_SECONDS)
        await eventually(lambda: ears.certain > 1, "it hears itself")
        proxy.deaden()
        await redis.publish("mp:a", "lost")
        await eventually(lambda: ears.beginnings == 2, "it listens on a new one")
        await reader.subscribe("mp:a", DEADLINE_SECONDS)
        await redis.publish("mp:a", "heard")
        await eventually(lambda: ears.messages == [(b"mp:a", b"heard")], "it hears again")


async def test_a_subscription_that_lost_its_channels_is_replaced(
    redis_server: RedisServer, redis: Redis, subscriber: Callable[[str], Redis]
) -> None:
    """The connection is as good as any, and nothing would ever come on it."""
    ears = Ears()
    async with reading(subscriber(redis_server.url), ears) as reader:
        await reader.subscribe("mp:a", DEADLINE_SECONDS)
        assert reader._feed is not None
        await reader._feed.say("UNSUBSCRIBE")
        await eventually(lambda: ears.beginnings == 2, "it listens on a new one")
        await redis.publish("mp:a", "heard")
        await eventually(lambda: ears.messages == [(b"mp:a", b"heard")], "it hears again")


async def test_a_subscription_is_kept_when_nothing_can_be_published(
    redis_server: RedisServer, redis: Redis
) -> None:
    """A full server takes no new connection: the one that is there must not be given up for the want of another."""
    ears = Ears()
    async with reading(connect_subscriber(redis_server.url), ears, probe_seconds=0.3) as reader:
        await reader.subscribe("mp:a", DEADLINE_SECONDS)
        before = (await redis.config_get("maxclients"))["maxclients"]
        await redis.config_set("maxclients", 1)
        try:
            await redis.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
            known = (await redis.info("stats"))["rejected_connections"]

            async def is_refused() -> bool:
                refused: int = (await redis.info("stats"))["rejected_connections"]
                return bool(refused > known + 5)

            await eventually(is_refused, "it has tried to publish")
            certain = ears.certain
        finally:
            await redis.config_set("maxclients", before)
        await eventually(lambda: ears.certain > certain, "it hears itself again")
        assert ears.beginnings == 1


async def test_a_server_that_greets_nobody_is_left_alone_in_time(redis_server: RedisServer) -> None:
    """It accepts connections and says nothing, as a frozen one does: each attempt has a deadline."""
    async with TcpProxy(redis_server.url) as proxy, connect_subscriber(proxy.url) as client:
        proxy.blackhole()
        reader = Reader(client, lambda *_: None, lambda: None, deadline_seconds=0.1)
        running = asyncio.create_task(reader.run())
        await eventually(lambda: proxy.connections >= 3, "it tries again and again")
        proxy.restore()
        await eventually(lambda: reader.connected, "it listens")
        await end(running)


async def test_a_probe_that_is_queued_behind_other_things_has_time(redis: Redis) -> None:
    """While anything arrives the subscription is alive, and slow; but not for ever."""
    waited: dict[str, float] = {}
    for name, received in {"silent": lambda: 0, "busy": count().__next__}.items():
        probe = Probe(redis, "mp:nobody", 0.1)
        await probe.publish()
        with pytest.raises(ConnectionError, match="has not been heard"):
            await probe.back(received)
        waited[name] = probe.lag_seconds
    assert waited["busy"] > 3 * waited["silent"] > 0.2


async def test_the_lag_is_known(redis_server: RedisServer) -> None:
    """It is how long the last message was under way, and grows while one is."""
    ears = Ears()
    async with (
        TcpProxy(redis_server.url) as proxy,
        reading(connect_subscriber(proxy.url), ears, deadline_seconds=30) as reader,
    ):
        await eventually(lambda: 0 < reader.lag_seconds < 0.2, "a message came back at once")
        proxy.delay_seconds = 0.3
        await eventually(lambda: reader.lag_seconds > 0.5, "one takes as long as the way takes")
        proxy.delay_seconds = 0
        await eventually(lambda: reader.lag_seconds < 0.2, "and the next one does not")
        proxy.blackhole()
        await eventually(lambda: reader.lag_seconds > 1, "it grows")
        proxy.restore()


async def test_health_is_lost_after_silence_and_found_at_once() -> None:
    """Every change is told once."""
    told: list[bool] = []
    health = Health(0.1, lambda: told.append(health.degraded))
    health.heard()
    await eventually(lambda: health.degraded, "nothing was heard")
    assert health.silent_seconds >= 0.1
    health.heard()
    health.heard()
    assert (health.degraded, told) == (False, [True, False])
    health.close()
