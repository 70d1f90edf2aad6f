"""The Lua scripts, loaded from the files beside this one; known to Redis by their SHA-1."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files


@dataclass(frozen=True, slots=True)
class Script:
    """One script: its text, and the digest by which EVALSHA finds it."""

    name: str
    source: str
    sha: str


def _load(name: str) -> Script:
    folder = files("milepost.log") / "lua"
    source = "".join(
        (folder / f"{part}.lua").read_text("utf-8") for part in (*BEGINNINGS.get(name, ("common",)), name)
    )
    return Script(name, source, hashlib.sha1(source.encode(), usedforsecurity=False).hexdigest())


BEGINNINGS: Mapping[str, tuple[str, ...]] = {
    "places": ("position",),
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
        "cover",
    )
}
