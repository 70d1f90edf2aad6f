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
    source = (folder / "common.lua").read_text("utf-8") + (folder / f"{name}.lua").read_text("utf-8")
    return Script(name, source, hashlib.sha1(source.encode(), usedforsecurity=False).hexdigest())


SCRIPTS: Mapping[str, Script] = {
    name: _load(name)
    for name in ("create", "claim", "report", "cancel", "renew", "lapse", "redeliver", "expire", "read")
}
