"""The commands of dev.py: each makes what it needs, then hands over to the program behind it."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from typing import NoReturn

from devtools.console import Stop, say
from devtools.environment import PYTHON, ROOT, VENV, alone, ensure, keep_caches_here


def open_door(arguments: list[str], usage: str) -> int:
    """Do what the command line asks; every way it can end is a sentence and an exit code."""
    name, rest = (arguments[0], arguments[1:]) if arguments else ("help", [])
    if name in {"help", "-h", "--help"}:
        print(usage.strip())
        return 0
    door = DOORS.get(name)
    if door is None:
        say(f"There is no command {name!r}; there are {', '.join(DOORS)} and help.")
        return 2
    keep_caches_here()
    try:
        return door(rest)
    except Stop as reason:
        say(str(reason))
        return 2
    except KeyboardInterrupt:
        say("Interrupted. What was begun is finished by the next run.")
        return 130


def hand_over(arguments: list[str], environment: dict[str, str] | None = None) -> NoReturn:
    """Become a program in .venv: signals reach it and its exit code is ours."""
    sys.stdout.flush()
    os.execve(PYTHON, [str(PYTHON), *arguments], {**compiled_once(os.environ), **(environment or {})})


def compiled_once(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the environment with compiled modules kept in .venv where they may not lie in the tree.

    PYTHONDONTWRITEBYTECODE is common in containers; every process would compile every library anew, seconds each.
    """
    env = dict(environ)
    if env.pop("PYTHONDONTWRITEBYTECODE", ""):
        env["PYTHONPYCACHEPREFIX"] = str(VENV / "pycache")
    return env


def run(arguments: list[str]) -> int:
    """Everything on this machine."""
    ensure("run")
    hand_over(["-m", "milepost.cli.main", "up", *arguments])


def test(arguments: list[str]) -> int:
    """The tests, with all they need."""
    ensure("test")
    from devtools import peers, tools

    with alone():
        environment = {**tools.for_tests(), **peers.for_benchmarks()}
    os.chdir(ROOT)
    hand_over(["-m", "pytest", *arguments], environment)


def check(_arguments: list[str]) -> int:
    """The gates."""
    ensure("test")
    from devtools import gates

    return gates.check_all()


def bench(arguments: list[str]) -> int:
    """The benchmarks."""
    ensure("bench")
    from devtools import peers

    with alone():
        environment = peers.for_benchmarks()
    os.chdir(ROOT)
    hand_over(["-m", "benchmarks", *arguments], environment)


def faults(arguments: list[str]) -> int:
    """The fault suite, the long version."""
    ensure("test")
    os.chdir(ROOT)
    hand_over(["-m", "tests.faults", *arguments])


def lock(arguments: list[str]) -> int:
    """The lock files."""
    from devtools import locks

    return locks.write(arguments)


DOORS: dict[str, Callable[[list[str]], int]] = {
    "run": run,
    "test": test,
    "check": check,
    "bench": bench,
    "faults": faults,
    "lock": lock,
}
