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
    source = (folder / f"{name}.lua").read_text("utf-8")
    if name not in OF_A_QUEUE:
        source = (folder / "common.lua").read_text("utf-8") + source
    return Script(name, source, hashlib.sha1(source.encode(), usedforsecurity=False).hexdigest())


OF_A_QUEUE = frozenset({"take"})
"""Scripts about a queue and not about one job: they begin without `common.lua`."""

SCRIPTS: Mapping[str, Script] = {
    name: _load(name)
    for name in (
        "create",
        "claim",
        "report",
        "cancel",
        "renew",
        "lapse",
        "redeliver",
        "expire",
        "read",
        "take",
    )
}
