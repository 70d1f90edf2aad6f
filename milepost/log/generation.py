"""Which generation of its memory a Redis is in, so that what it lost is never taken for what it has.

A Redis that restarts may come back without what it had acknowledged last, and a replica that takes over may never
have had it. Readers have seen those events; others would get their numbers. So every history must branch there:
`append` in common.lua begins a new epoch for a job whose last event is of another generation.

How the change is noticed: a server process knows the scripts that were loaded into it; they are neither replicated
nor kept over a restart (Redis 7.0; https://redis.io/docs/latest/develop/programmability/eval-intro/). The text of our
scripts names the generation. Whoever meets a memory of unknown past gets NOSCRIPT before anything is written, also by
a server that was the master before, since the one in between was used (workers ask it for jobs all the time). Who
finds that the memory names a generation whose scripts it does not know begins the next one, named after the last and
the server process: all who do so at the same time begin the same.

When that was is written down beside the name: before, for a time that nobody knows, no lease could be renewed, and
every worker has a whole lease from then on to be heard (see `lapse.lua`). A client that repeats its commands until
Redis is back does not notice a restart; its scripts do.
"""

from __future__ import annotations

import hashlib
from collections.abc import Generator
from typing import Any
from weakref import WeakKeyDictionary

from milepost.log.keys import GENERATION, GENERATION_SINCE
from milepost.log.scripts import SCRIPTS, Loaded, Script

Commands = tuple[tuple[str | int, ...], ...]
"""Commands that are sent as one transaction; their replies come as a list."""

TRIES = 5
"""How often a call is repeated: each failure but the first means that Redis has changed hands in between."""

MARK = Script("mark", "return 1\n")
"""Loaded after all the others: where it is known, they are, whatever version of Milepost has loaded them."""

_SWAP_SOURCE = """\
if redis.call('GET', KEYS[1]) == (ARGV[1] ~= '' and ARGV[1]) then
  redis.call('SET', KEYS[1], ARGV[2])
  if ARGV[1] ~= '' then -- in an empty memory nobody has a lease
    local clock = redis.call('TIME')
    redis.call('SET', KEYS[2], string.format('%.0f', clock[1] * 1000 + math.floor(clock[2] / 1000)))
  end
end
return redis.call('GET', KEYS[1])
"""
_SWAP = Loaded(_SWAP_SOURCE, hashlib.sha1(_SWAP_SOURCE.encode(), usedforsecurity=False).hexdigest())

_known: WeakKeyDictionary[Any, str] = WeakKeyDictionary()


def known_to(client: Any) -> str:
    """Return the generation that this client works in, "" before it has asked."""
    return _known.get(client, "")


def remember(client: Any, generation: str) -> None:
    _known[client] = generation


def find(known: str) -> Generator[Commands, list[Any], str]:
    """Return the generation to work in, after NOSCRIPT in the one that was `known`. Sends commands, takes replies."""
    [named, server] = yield (("GET", GENERATION), ("INFO", "server"))
    current = named.decode() if named else ""
    if current and current != known:
        return current  # somebody else has begun it
    if current:
        [there] = yield (("SCRIPT EXISTS", MARK.of(current).sha),)
        if there[0]:  # another version of Milepost has loaded its scripts: the same memory, other texts
            yield _loading(current)
            return current
    following = _after(current, str(server["run_id"]))
    # Named last: whoever reads the name finds the scripts. Nothing comes between, not even SCRIPT FLUSH.
    swap = ("EVALSHA", _SWAP.sha, 2, GENERATION, GENERATION_SINCE, current, following)
    *_, agreed = yield (*_loading(following), ("SCRIPT LOAD", _SWAP.source), swap)
    return str(agreed.decode())


def _loading(generation: str) -> Commands:
    scripts: list[Loaded] = [script.of(generation) for script in (*SCRIPTS.values(), MARK)]
    return tuple(("SCRIPT LOAD", script.source) for script in scripts)


def _after(generation: str, run_id: str) -> str:
    return hashlib.sha1(f"{generation}/{run_id}".encode(), usedforsecurity=False).hexdigest()[:10]
