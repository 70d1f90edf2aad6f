"""Run a script, whatever Redis has forgotten."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast
from weakref import WeakKeyDictionary

from redis.exceptions import NoScriptError

from milepost.log.calls import Call
from milepost.log.generation import TRIES, find, known_to, remember

if TYPE_CHECKING:
    from redis import Redis as SyncRedis
    from redis.asyncio import Redis

AT_ONCE = 20
"""Scripts of one round trip. Redis serves nobody else meanwhile, and one that creates or ends a job takes it 0.1 ms."""


async def evaluate(redis: Redis, call: Call) -> Any:
    """Run one script, in the generation that Redis is in."""
    searches = _searches_of(redis)
    for _ in range(TRIES - 1):
        before = searches.made
        try:
            return await _evalsha(redis, call)
        except NoScriptError:
            await searches.renew(redis, before)
    return await _evalsha(redis, call)


async def evaluate_all(redis: Redis, calls: Sequence[Call]) -> list[Any]:
    """Run scripts, `AT_ONCE` in a round trip, each a step of its own. Raises what the first that failed has raised.

    What follows the round trip of that one is not sent.
    """
    portions = (calls[start : start + AT_ONCE] for start in range(0, len(calls), AT_ONCE))
    return [reply for portion in portions for reply in await _evaluate_at_once(redis, portion)]


async def _evaluate_at_once(redis: Redis, calls: Sequence[Call]) -> list[Any]:
    async with redis.pipeline(transaction=False) as pipe:
        for call in calls:
            sha = call.script.of(known_to(redis)).sha
            pipe.evalsha(sha, len(call.keys), *call.keys, *(str(a) for a in call.args))
        replies = await pipe.execute(raise_on_error=False)
    for number, (call, reply) in enumerate(zip(calls, replies, strict=True)):
        if isinstance(reply, NoScriptError):
            replies[number] = await evaluate(redis, call)
        elif isinstance(reply, Exception):
            raise reply
    return list(replies)


async def _evalsha(redis: Redis, call: Call) -> Any:
    sha = call.script.of(known_to(redis)).sha
    reply = redis.evalsha(sha, len(call.keys), *call.keys, *(str(a) for a in call.args))
    return await cast("Awaitable[Any]", reply)


@dataclass(slots=True)
class _Searches:
    """How often a client has looked for its generation. All calls that fail at the same time need one look.

    Each would load all scripts: after a failover, thousands of times, into a server that has just taken over.
    """

    made: int = 0
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def renew(self, redis: Redis, before: int) -> None:
        """Find the generation anew, unless that was done since `before` looks had been made."""
        async with self.turn:
            if self.made == before:
                await _renew(redis)
                self.made += 1


_searches: WeakKeyDictionary[Any, _Searches] = WeakKeyDictionary()


def _searches_of(redis: Redis) -> _Searches:
    return _searches.setdefault(redis, _Searches())


async def _renew(redis: Redis) -> None:
    search, replies = find(known_to(redis)), None
    try:
        while True:
            async with redis.pipeline(transaction=True) as pipe:
                for command in search.send(replies):  # type: ignore[arg-type]  # the first is None
                    pipe.execute_command(*command)
                replies = await pipe.execute()
    except StopIteration as found:
        remember(redis, found.value)


def renew(redis: SyncRedis) -> None:
    """Find the generation that Redis is in, after NOSCRIPT: for whoever sends calls by a client without asyncio."""
    search, replies = find(known_to(redis)), None
    try:
        while True:
            with redis.pipeline(transaction=True) as pipe:
                for command in search.send(replies):  # type: ignore[arg-type]  # the first is None
                    pipe.execute_command(*command)  # type: ignore[no-untyped-call]
                replies = pipe.execute()
    except StopIteration as found:
        remember(redis, found.value)
