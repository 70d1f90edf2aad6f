"""Clients that follow the master which the Sentinels name, whatever becomes of the one they had."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from redis.exceptions import AuthenticationError, RedisError
from redis.exceptions import ConnectionError as RedisConnectionError

from milepost.background import end
from milepost.errors import SettingsError
from milepost.log.door import knock
from milepost.redis import connect, connect_subscriber, connect_sync
from milepost.redis.clients import REPLY_SECONDS
from tests.support.ports import free_port
from tests.support.redis import RedisServer
from tests.support.sentinels import Sentinels
from tests.support.wait import eventually

pytestmark = pytest.mark.timeout(240)
PASSWORD, SENTINEL_PASSWORD = "master-pw", "sentinel-pw"


@pytest.fixture(scope="module")
def sentinels(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sentinels]:
    """All with passwords; for tests that do them no harm."""
    folder = tmp_path_factory.mktemp("sentinels")
    with Sentinels(folder, password=PASSWORD, sentinel_password=SENTINEL_PASSWORD) as running:
        yield running


@pytest.fixture
def own_sentinels(tmp_path: Path) -> Iterator[Sentinels]:
    """For a test that changes masters."""
    with Sentinels(tmp_path, password=PASSWORD, sentinel_password=SENTINEL_PASSWORD) as running:
        yield running


@asynccontextmanager
async def heard(url: str) -> AsyncIterator[list[bytes]]:
    """Subscribe to `news`, anew whenever the subscription is lost, and collect what is heard."""
    messages: list[bytes] = []

    async def listen() -> None:
        while True:
            pubsub = subscriber.pubsub()
            try:
                await pubsub.subscribe("news")
                while True:
                    message = await pubsub.get_message(timeout=60)
                    if message and message["type"] == "message":
                        messages.append(message["data"])
            except (RedisError, OSError):
                await asyncio.sleep(0.05)
            finally:
                await pubsub.aclose()

    async with connect_subscriber(url) as subscriber:
        listening = asyncio.create_task(listen())
        try:
            yield messages
        finally:
            await end(listening)


def kill(sentinels: Sentinels) -> RedisServer:
    killed = sentinels.kill_master()
    sentinels.wait_for_other_master(killed)
    return killed


def freeze(sentinels: Sentinels) -> RedisServer:
    frozen = sentinels.pause_master()
    sentinels.wait_for_other_master(frozen)
    return frozen


def planned(sentinels: Sentinels) -> RedisServer:
    before = sentinels.master
    sentinels.failover()
    return before


@pytest.mark.parametrize("lose", [kill, freeze, planned])
async def test_every_kind_of_client_reaches_the_new_master(
    own_sentinels: Sentinels, lose: Callable[[Sentinels], RedisServer]
) -> None:
    """Commands, one that waits for an answer, a subscription, a thread; sooner than a reply is waited for."""
    loop = asyncio.get_running_loop()
    thread = connect_sync(own_sentinels.url)
    async with connect(own_sentinels.url) as client, heard(own_sentinels.url) as messages:
        await eventually(lambda: told(client, messages, b"before"), "the subscription is heard")
        thread.set("by", "thread")
        blocked = asyncio.create_task(waits(client))
        await eventually(lambda: is_blocked(own_sentinels), "a client waits for an entry")
        await asyncio.to_thread(lose, own_sentinels)
        since = loop.time()
        await eventually(lambda: told(client, messages, b"after"), "the subscription is heard again")
        await eventually(
            lambda: asyncio.to_thread(thread.set, "by", "thread"), "the thread writes", ignoring=(RedisError,)
        )
        took = loop.time() - since
        client_now = own_sentinels.client()
        assert client_now.get("by") == b"thread"
        await client.xadd("entries", {"a": "b"})
        assert await asyncio.wait_for(blocked, 60)
        client_now.close()
        thread.close()
    assert took < REPLY_SECONDS / 2  # nobody has waited until a frozen server's answer was given up


async def told(client: Any, messages: list[bytes], word: bytes) -> bool:
    await client.publish("news", word)
    return word in messages


async def waits(client: Any) -> Any:
    """Wait for an entry as the recorder does, for as long as it takes."""
    while True:
        try:
            if found := await client.xread({"entries": "0"}, block=2000):
                return found
        except (RedisError, OSError):
            await asyncio.sleep(0.05)


async def is_blocked(sentinels: Sentinels) -> bool:
    with sentinels.client() as client:
        return bool(client.info("clients")["blocked_clients"])


def test_a_replica_that_refuses_inside_of_a_transaction_is_left(tmp_path: Path) -> None:
    """EXEC succeeds and its parts do not: whoever only looks at the first would stay for ever."""
    with RedisServer(tmp_path / "lone") as lone, lone.client() as admin:
        client = connect_sync(lone.url)
        script = str(client.script_load("return redis.call('SET', KEYS[1], '1')"))

        def write() -> list[Any]:
            pipe = client.pipeline(transaction=True)
            pipe.evalsha(script, 1, "a")
            return pipe.execute(raise_on_error=False)

        assert write() == [b"OK"]
        admin.replicaof("127.0.0.1", free_port())
        with pytest.raises(RedisConnectionError, match="takes no writes: it is a replica"):
            write()
        admin.replicaof("NO", "ONE")
        assert write() == [b"OK"]
        client.close()


async def test_a_blocked_client_of_a_server_that_is_demoted_is_told(tmp_path: Path) -> None:
    """What Redis answers then is no bug of whoever waited."""
    with RedisServer(tmp_path / "lone") as lone, lone.client() as admin:
        async with connect(lone.url, retries=0) as client:
            blocked = asyncio.ensure_future(client.xread({"entries": "$"}, block=60_000))
            await eventually(lambda: admin.info("clients")["blocked_clients"], "it waits")
            admin.replicaof("127.0.0.1", free_port())
            with pytest.raises(RedisConnectionError):
                await blocked


async def test_nothing_of_a_client_that_was_closed_goes_on(sentinels: Sentinels) -> None:
    """Neither a task nor a connection to a Sentinel."""
    tasks, threads = asyncio.all_tasks(), threading.active_count()
    async with connect(sentinels.url) as client:
        await client.ping()
        assert len(asyncio.all_tasks()) > len(tasks)
    assert asyncio.all_tasks() == tasks
    assert threading.active_count() == threads


async def test_a_sentinel_that_is_gone_is_passed_over(sentinels: Sentinels) -> None:
    """The first of the list may be the one that is down."""
    url = sentinels.url.replace("@127.0.0.1", f"@127.0.0.1:{free_port()},127.0.0.1", 1)
    async with connect(url, retries=0) as client:
        assert await client.ping()
    thread = connect_sync(url)
    assert thread.ping()
    thread.close()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (("/mymaster", "/mymastr"), ["know no master named 'mymastr'", "sentinel monitor"]),
        ((SENTINEL_PASSWORD, "wrong"), ["A Sentinel refuses us", "sentinel_password="]),
        ((PASSWORD, "wrong"), ["mymaster (Sentinels: 127.0.0.1", "does not let us in"]),
    ],
)
async def test_what_is_wrong_with_the_address_is_a_sentence(
    sentinels: Sentinels, change: tuple[str, str], words: list[str]
) -> None:
    """A name that the Sentinels do not know may come; a wrong password is refused at once, whosever it is."""
    url = sentinels.url.replace(*change)
    async with connect(url, retries=0) as client:
        try:
            said = str(await knock(client, url))
        except SettingsError as error:
            said = str(error)
        else:
            assert "mymastr" in said
    assert [word for word in words if word not in said] == [], said
    assert "wrong" not in said.replace("WRONGPASS", "")
    thread = connect_sync(url)
    with pytest.raises((RedisConnectionError, AuthenticationError)):
        thread.ping()
    thread.close()


async def test_without_any_sentinel_it_is_said_which_were_asked() -> None:
    """Redis may be well, and nobody can say where it is."""
    port = free_port()
    async with connect(f"redis+sentinel://127.0.0.1:{port}/m", retries=0) as client:
        with pytest.raises(RedisConnectionError, match=f"No Sentinel answers, neither of 127.0.0.1:{port}"):
            await client.ping()
