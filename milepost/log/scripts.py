"""The Lua scripts, loaded from the files beside this one; known to Redis by their SHA-1 in each generation."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files


@dataclass(frozen=True, slots=True)
class Loaded:
    """The text of a script, and the digest by which EVALSHA finds it."""

    source: str
    sha: str


@dataclass(frozen=True, slots=True)
class Script:
    """One script. It runs in the one generation of Redis's memory that it was made for (see `generation.py`)."""

    name: str
    body: str

    def of(self, generation: str) -> Loaded:
        """Return what it is in that generation."""
        return _of(self.body, generation)


@lru_cache(maxsize=64)  # the texts of some four generations: a process may live through any number
def _of(body: str, generation: str) -> Loaded:
    source = f"local GENERATION = '{generation}'\n{_HEAD}{body}"
    return Loaded(source, hashlib.sha1(source.encode(), usedforsecurity=False).hexdigest())


def _load(name: str) -> Script:
    folder = files("milepost.log") / "lua"
    parts = (*BEGINNINGS.get(name, ("common",)), name)
    return Script(name, "".join((folder / f"{part}.lua").read_text("utf-8") for part in parts))


_HEAD = """\
if redis.call('GET', 'mp:generation') ~= GENERATION then
  return redis.error_reply('NOSCRIPT made for another generation of this memory')
end
"""


BEGINNINGS: Mapping[str, tuple[str, ...]] = {
    "places": ("position",),
    "positions": (),
    "create": ("common", "position"),
    "read": ("common", "position"),
}
"""What scripts begin with; those that are not named, about one job each, with `common.lua`."""

SCRIPTS: Mapping[str, Script] = {
    name: _load(name)
    for name in (
        "create",
        "report",
        "cancel",
        "renew",
        "lapse",
        "redeliver",
        "expire",
        "settle",
        "read",
        "take",
        "places",
        "positions",
        "cover",
        "forget",
    )
}
