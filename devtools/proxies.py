"""The proxies that people put in front of Milepost, for the tests that stand behind them."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from devtools import apt
from devtools.console import CommandFailed, Stop, quietly, say, works
from devtools.environment import BIN, VENV

# Each with the arguments by which it says its version and does nothing else.
PROGRAMS = {"nginx": ["-v"], "haproxy": ["-v"], "caddy": ["version"]}
UNPACKED = VENV / "debian"

# Debian keeps servers where only root's PATH leads.
FOLDERS = ["/usr/sbin", "/usr/local/sbin", "/sbin"]

WRAPPER = """\
#!/bin/sh
LD_LIBRARY_PATH={libraries}${{LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}}
export LD_LIBRARY_PATH
exec {program} "$@"
"""


def for_tests() -> dict[str, str]:
    """Find or bring the proxies; return the variables that tell the tests where they are.

    One that cannot be had is left out with a sentence: the tests that need it fail and say so too.
    """
    missing = [name for name in PROGRAMS if installed(name) is None]
    if missing:
        try:
            bring(missing)
        except (CommandFailed, Stop) as failure:
            names = " and ".join(name for name in missing if installed(name) is None)
            say(
                f"There is no {names} here, and the tests of proxies fail without. Install it (Debian: sudo apt-get "
                f"install {' '.join(missing)}) and run this again. What was tried said:\n{failure}"
            )
    found = {name: installed(name) for name in PROGRAMS}
    return {f"MILEPOST_TEST_{name.upper()}": str(path) for name, path in found.items() if path}


def installed(name: str) -> Path | None:
    """Return a program on this machine that starts, or None."""
    path = os.pathsep.join([str(BIN), os.environ.get("PATH", os.defpath), *FOLDERS])
    program = shutil.which(name, path=path)
    return Path(program) if program and works([program, *PROGRAMS[name]]) else None


def bring(names: Sequence[str]) -> None:
    """Have the programs, without any service that would start by itself. Raises Stop or CommandFailed."""
    if sys.platform == "darwin" and (brew := shutil.which("brew")):
        say(f"Installing {' '.join(names)} with brew, for the tests.")
        quietly([brew, "install", *names], env={"HOMEBREW_NO_AUTO_UPDATE": "1"})
        return
    apt.unpack(*names, folder=UNPACKED, purpose="proxies for the tests")
    for name in names:
        program = next((path for path in unpacked(f"*bin/{name}") if path.is_file()), None)
        if program is None:
            raise Stop(f"Debian's package {name} holds no program of that name")
        wrapper = BIN / name
        libraries = ":".join(str(path) for path in unpacked("lib/*-linux-gnu*"))
        wrapper.write_text(
            WRAPPER.format(libraries=shlex.quote(libraries), program=shlex.quote(str(program)))
        )
        wrapper.chmod(0o755)
        if installed(name) is None:
            raise Stop(f"Debian's {name} was unpacked, but it does not start:\n{complaint(name)}")


def unpacked(pattern: str) -> list[Path]:
    """Return what matches below the unpacked root, which may or may not have /usr merged."""
    return sorted([*UNPACKED.glob(f"usr/{pattern}"), *UNPACKED.glob(pattern)])


def complaint(name: str) -> str:
    """Return what a program says instead of its version."""
    try:
        return quietly([BIN / name, *PROGRAMS[name]], timeout_seconds=30)
    except CommandFailed as failure:
        return failure.tail(3)
