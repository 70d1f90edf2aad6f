"""Writing the lock files: every version pinned, every archive hashed, no host named.

The files say what to install, never where from: that is for the machine that installs to know.
"""

from __future__ import annotations

import re
from pathlib import Path

from devtools.console import Command, CommandFailed, Stop, quietly, say
from devtools.environment import LOCKS, ROOT, alone
from devtools.packages import UV, ensure_uv, ensure_venv, uv_environment

# Universal: one file serves every platform and every Python from 3.11 on, with markers inside.
OPTIONS = ["--universal", "--python-version=3.11", "--generate-hashes", "--no-emit-index-url", "--no-header"]


def write(extra_options: list[str]) -> int:
    """Resolve the lock files anew; keep the old ones when the result is not fit to be committed."""
    with alone():
        ensure_venv()
        ensure_uv()
        before = {lock: lock.read_text() if lock.exists() else "" for lock in LOCKS.values()}
        try:
            for lock in LOCKS.values():
                resolve(lock.name, extra_options)
                if fault := fault_in(lock.read_text()):
                    raise Stop(f"{lock.name} was not rewritten: {fault}.")
        except CommandFailed as failure:
            restore(before)
            raise Stop(f"No versions fit together; the lock files are as before:\n{failure.tail()}") from None
        except BaseException:
            restore(before)
            raise
    changed = [lock.name for lock, text in before.items() if lock.read_text() != text]
    say(f"Rewritten: {', '.join(changed)}." if changed else "The lock files are up to date.")
    return 0


def resolve(name: str, extra_options: list[str]) -> None:
    """Let uv write one lock file; what it already pins stays unless an option says otherwise."""
    wanted = ["pyproject.toml", "--extra", "all"]
    # Under the constraints of the one before, so that tests and benchmarks run what production runs.
    if name == LOCKS["test"].name:
        wanted += ["--group", "dev", "--constraint", LOCKS["run"].name]
    elif name == LOCKS["bench"].name:
        wanted += ["--group", "dev", "--group", "bench", "--constraint", LOCKS["test"].name]
    say(f"Resolving {name}.")
    command: Command = [UV, "pip", "compile", "--quiet", *wanted, *OPTIONS, *extra_options, "-o", name]
    # A folder of wheels on this machine would add hashes that nobody else can check.
    env = {name: value for name, value in uv_environment().items() if name != "UV_FIND_LINKS"}
    quietly(command, cwd=ROOT, env=env)


def fault_in(lock: str) -> str | None:
    """Say what makes a lock file unfit: a host named in it, or a package without a hash."""
    if "://" in lock:
        return "it names a host"
    for found in re.finditer(r"^([a-z0-9._-]+)(?:==| @)(?:.*\\\n)*.*", lock, re.MULTILINE | re.IGNORECASE):
        if "--hash=sha256:" not in found.group():
            return f"{found[1]} has no hash"
    return None


def restore(before: dict[Path, str]) -> None:
    """Put the lock files back as they were."""
    for lock, text in before.items():
        lock.write_text(text)
