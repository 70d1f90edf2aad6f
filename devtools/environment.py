"""The virtual environment of this checkout: whether it is what the lock files say, and making it so."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from devtools.console import say

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
BIN = VENV / "bin"
PYTHON = BIN / "python"

# "run" holds what the service needs and nothing else; "test" that and all the tools; "bench" those and the
# peers that Milepost is measured beside.
Level = Literal["run", "test", "bench"]
LOCKS: dict[Level, Path] = {
    "run": ROOT / "requirements.lock",
    "test": ROOT / "requirements-dev.lock",
    "bench": ROOT / "requirements-bench.lock",
}
CONTAINS: dict[Level, tuple[Level, ...]] = {"run": (), "test": ("run",), "bench": ("run", "test")}


def fingerprint(level: Level) -> str:
    """Digest everything that an environment of this level was made from."""
    digest = hashlib.sha256()
    # The place and the interpreter count: scripts name both, and a moved checkout or an upgraded
    # system Python would leave them pointing at nothing.
    digest.update(f"{ROOT}\n{os.path.realpath(PYTHON)}\n".encode())
    for source in (ROOT / "pyproject.toml", Path(__file__).with_name("project.py"), LOCKS[level]):
        digest.update(source.read_bytes())
    return digest.hexdigest()


def stamp(level: Level) -> Path:
    """Name the file that is written last, and only when the environment is whole."""
    return VENV / f".milepost-{level}"


def is_ready(level: Level) -> bool:
    """Say whether the environment is whole and up to date, without starting anything."""
    try:
        return PYTHON.exists() and stamp(level).read_text() == fingerprint(level)
    except OSError:
        return False


@contextlib.contextmanager
def alone() -> Iterator[None]:
    """Keep other dev.py commands out of this checkout until the block ends.

    The lock is on the checkout's own directory, so no file is left behind, and the kernel
    releases it whatever happens to this process.
    """
    directory = os.open(ROOT, os.O_RDONLY)
    try:
        try:
            fcntl.flock(directory, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("Another dev.py is setting this checkout up; waiting for it to finish.")
            fcntl.flock(directory, fcntl.LOCK_EX)
        except OSError:
            pass  # a network file system without locks: go on, alone as nearly every time
        yield
    finally:
        os.close(directory)


def keep_caches_here() -> None:
    """Where the home directory is missing or not ours, let uv, pip and Playwright cache inside .venv.

    uv refuses to work without a cache, and a build account often has no home.
    """
    home = Path(os.environ.get("HOME") or "/nonexistent")
    cache = Path(os.environ.get("XDG_CACHE_HOME") or home / ".cache")
    nearest = next(folder for folder in (cache, *cache.parents) if folder.exists())
    if not cache.is_absolute() or nearest == Path("/") or not os.access(nearest, os.W_OK | os.X_OK):
        os.environ["XDG_CACHE_HOME"] = str(VENV / "cache")


def ensure(level: Level) -> None:
    """Bring the environment to this level; costs next to nothing when it is there already."""
    if is_ready(level):
        return
    from devtools import packages, project

    with alone():
        if is_ready(level):
            return  # the one we waited for has done it
        started = time.monotonic()
        for each in LOCKS:
            stamp(each).unlink(missing_ok=True)
        packages.ensure_venv()
        packages.install(LOCKS[level])
        project.link()
        stamp(level).write_text(fingerprint(level))
        for contained in CONTAINS[level]:  # each lock contains the ones before it
            stamp(contained).write_text(fingerprint(contained))
        say(f"The environment is ready, after {time.monotonic() - started:.1f} s.")
