"""What a user of Redis must be allowed to do, and whether ours is: asked once at the start, by name.

Without it a right that is missing shows up as a command that fails again and again, perhaps days later.
"""

from __future__ import annotations

from collections.abc import Awaitable, Sequence
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from redis.asyncio import Redis

KEYS, CHANNELS = ("mp:*", "arq:job:*"), ("mp:*",)
"""All keys and channels of Milepost. The second kind of keys is arq's: its own tools can read what waits."""

EXAMPLES = (
    "PING",
    "INFO",
    "TIME",
    "MULTI",
    "EXEC",
    "WATCH mp:x",
    "UNWATCH",
    "EVALSHA x 0",
    "SCRIPT LOAD x",
    "SCRIPT EXISTS x",
    "GET mp:x",
    "SET mp:x 1",
    "STRLEN mp:x",
    "EXISTS mp:x",
    "DEL mp:x",
    "UNLINK mp:x",
    "PEXPIRE mp:x 1",
    "HSET mp:x a 1",
    "HGET mp:x a",
    "HMGET mp:x a",
    "HGETALL mp:x",
    "HINCRBY mp:x a 1",
    "HDEL mp:x a",
    "ZADD mp:x 1 a",
    "ZREM mp:x a",
    "ZSCORE mp:x a",
    "ZRANK mp:x a",
    "ZRANGE mp:x 0 1",
    "ZRANGEBYSCORE mp:x 0 1",
    "XADD mp:x * a 1",
    "XDEL mp:x 1-0",
    "XACK mp:x g 1-0",
    "XRANGE mp:x - +",
    "XREADGROUP GROUP g c STREAMS mp:x >",
    "XAUTOCLAIM mp:x g c 1 0",
    "XGROUP CREATE mp:x g 0",
    "XGROUP DELCONSUMER mp:x g c",
    "XINFO CONSUMERS mp:x g",
    "PSETEX arq:job:x 1 1",
    "PUBLISH mp:x 1",
    "SUBSCRIBE mp:x",
    "UNSUBSCRIBE mp:x",
)
"""One call of each command that API and worker send, or that the scripts make, on a key or channel of ours."""

_SUBCOMMANDS = {"SCRIPT", "XGROUP", "XINFO"}
_SOURCE = """\
-- Which of these calls the present user may not make. ARGV: the calls.
local refused = {}
for _, call in ipairs(ARGV) do
  local words = {}
  for word in string.gmatch(call, '%S+') do words[#words + 1] = word end
  if not redis.acl_check_cmd(unpack(words)) then refused[#refused + 1] = call end
end
return refused
"""


def command_of(example: str) -> str:
    """Return the command of a call as an ACL names it: `xgroup|create`."""
    first, *rest = example.split()
    return f"{first}|{rest[0]}".lower() if first in _SUBCOMMANDS else first.lower()


def acl_rules() -> list[str]:
    """Return the smallest rules that are enough, as ACL SETUSER takes them."""
    commands = [f"+{command_of(example)}" for example in EXAMPLES]
    return [
        "resetkeys",
        "resetchannels",
        *(f"~{one}" for one in KEYS),
        *(f"&{one}" for one in CHANNELS),
        "-@all",
        *commands,
    ]


async def refused_calls(redis: Redis, calls: Sequence[str] = EXAMPLES) -> list[str]:
    """Return those of these calls that our user may not make; none is made.

    Raises `NoPermissionError` when not even this question may be asked.
    """
    sha = await redis.script_load(_SOURCE)
    answer = await cast("Awaitable[list[bytes | str]]", redis.evalsha(sha, 0, *calls))
    return [call.decode() if isinstance(call, bytes) else str(call) for call in answer]
