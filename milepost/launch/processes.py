"""Processes of this machine: which is which, and children that do not outlive their parent."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

ON_LINUX = os.uname().sysname == "Linux"
_PR_SET_PDEATHSIG = 1  # linux/prctl.h


def identity(pid: int) -> str | None:
    """Return what tells this process from any other that ever had its pid; None if there is no such process.

    A pid alone is reused. With the time of its start (and, on Linux, the boot it belongs to) it is not.
    """
    if ON_LINUX:
        return _identity_from_proc(pid)
    answer = subprocess.run(
        ["ps", "-o", "lstart=", "-p", str(pid)], capture_output=True, text=True, check=False
    )
    return answer.stdout.strip() or None


def _identity_from_proc(pid: int) -> str | None:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace")
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return None
    # proc(5): the name, field 2, is in parentheses and may hold anything; state is 3, starttime 22.
    fields = stat.rpartition(")")[2].split()
    if fields[0] in "ZX":
        return None  # dead already, only its parent has not asked yet
    return f"{boot}:{fields[19]}"


def die_with_parent() -> Callable[[], None] | None:
    """Return what a child is to run before it execs, so that the kernel ends it when we are gone.

    None where there is no such thing (macOS): there the next start ends what was left over.
    """
    if not ON_LINUX:
        return None
    prctl = ctypes.CDLL(
        None, use_errno=True
    ).prctl  # looked up here: between fork and exec only calls are safe
    parent = os.getpid()

    def arm() -> None:
        prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != parent:  # we died between the fork and the call above: nobody would tell the child
            os._exit(1)

    return arm
