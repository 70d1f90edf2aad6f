"""Connections to Redis on the event loop of production: a reset at any moment is an interruption."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, cast

import pytest
import uvloop
from redis.asyncio import Redis
from redis.exceptions import ConnectionError as RedisConnectionError

from milepost.redis import connect, connect_subscriber
from tests.support.redis import RedisServer
from tests.support.wait import eventually


@pytest.mark.parametrize("open_client", [connect, connect_subscriber])
def test_a_connection_that_was_reset_is_unreachable_and_no_bug(
    redis_server: RedisServer, open_client: Callable[[str], Redis]
) -> None:
    """The loop's own word for it is a RuntimeError, which would end the worker with all its jobs."""

    async def speak_after_a_reset() -> None:
        async with open_client(redis_server.url) as client:
            connection = cast("Any", client.connection_pool.make_connection())
            await connection.connect()
            connection._writer.transport.abort()
            reader = connection._reader
            await eventually(lambda: reader.at_eof() or reader.exception(), "the reset is noticed")
            with pytest.raises(RedisConnectionError):
                await connection.send_command("PING", check_health=False)

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(speak_after_a_reset())
