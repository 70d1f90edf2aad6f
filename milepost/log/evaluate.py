"""Run a script, whatever Redis has forgotten."""

from __future__ import annotations

from collections.abc import Awaitable, Sequence
from typing import TYPE_CHECKING, Any, cast

from redis.exceptions import NoScriptError

from milepost.log.calls import Call

if TYPE_CHECKING:
    from redis.asyncio import Redis


async def evaluate(redis: Redis, call: Call) -> Any:
    """Run one script, loading it if Redis does not know it (a restart, SCRIPT FLUSH)."""
    try:
        return await _evalsha(redis, call)
    except NoScriptError:
        await redis.script_load(call.script.source)
        return await _evalsha(redis, call)


async def evaluate_all(redis: Redis, calls: Sequence[Call]) -> list[Any]:
    """Run scripts in one round trip, each a step of its own. Raises what the first that failed has raised."""
    async with redis.pipeline(transaction=False) as pipe:
        for call in calls:
            pipe.evalsha(call.script.sha, len(call.keys), *call.keys, *(str(a) for a in call.args))
        replies = await pipe.execute(raise_on_error=False)
    for number, (call, reply) in enumerate(zip(calls, replies, strict=True)):
        if isinstance(reply, NoScriptError):
            replies[number] = await evaluate(redis, call)
        elif isinstance(reply, Exception):
            raise reply
    return list(replies)


async def _evalsha(redis: Redis, call: Call) -> Any:
    reply = redis.evalsha(call.script.sha, len(call.keys), *call.keys, *(str(a) for a in call.args))
    return await cast("Awaitable[Any]", reply)
