"""Mixed into redis-py's connections: what is gone is unreachable, and who is no master is left."""

from __future__ import annotations

from typing import Any

from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import ResponseError

from milepost.redis.trouble import MasterMoved, is_demotion


class Sturdy:
    """A connection of asyncio.

    uvloop raises `RuntimeError` ("the handler is closed") when something is written after a reset, where asyncio
    only takes note. Nothing that waits for Redis to come back would understand that.

    A server that was demoted goes on answering: reads of the past, and errors. A connection to it would be kept for
    ever, so it is closed at the first such error; the next one asks the name service, or the Sentinels, anew.
    """

    async def send_packed_command(self, *args: Any, **kwargs: Any) -> None:
        try:
            await super().send_packed_command(*args, **kwargs)  # type: ignore[misc]
        except RuntimeError as error:
            raise RedisConnectionError(
                f"The connection was closed while a command was sent: {error}"
            ) from error

    async def read_response(self, *args: Any, **kwargs: Any) -> Any:
        try:
            response = await super().read_response(*args, **kwargs)  # type: ignore[misc]
        except ResponseError as error:
            if not is_demotion(error):
                raise
            response = error
        if says_replica(response):
            await self.disconnect(nowait=True)  # type: ignore[attr-defined]
            raise moved(self) from None
        return response


class SturdySync:
    """The same for a thread."""

    def read_response(self, *args: Any, **kwargs: Any) -> Any:
        try:
            response = super().read_response(*args, **kwargs)  # type: ignore[misc]
        except ResponseError as error:
            if not is_demotion(error):
                raise
            response = error
        if says_replica(response):
            self.disconnect()  # type: ignore[attr-defined]
            raise moved(self) from None
        return response


def says_replica(response: Any) -> bool:
    """Whether a replica has answered. What EXEC answers is a list, in which errors lie among the rest."""
    if type(response) is list:
        return any(isinstance(one, ResponseError) and is_demotion(one) for one in response)
    return isinstance(response, ResponseError)


def moved(connection: Any) -> MasterMoved:
    where = f"{getattr(connection, 'host', 'Redis')}:{getattr(connection, 'port', '')}".removesuffix(":")
    return MasterMoved(f"{where} takes no writes: it is a replica, and the master is elsewhere.")
