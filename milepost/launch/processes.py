"""Processes of this machine: which is which, and children that do not outlive their parent."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

ON_LINUX = os.uname().sysname == "Linux"


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


def tethered(argv: Sequence[str]) -> Sequence[str]:
    """Return how to start `argv` as a child of this process that the kernel ends when we are gone.

    As it is where there is no such thing (macOS): there the next start ends what was left over.
    """
    if not ON_LINUX:
        return argv
    tether = Path(__file__).with_name("tether.py")
    return (sys.executable, "-I", "-S", str(tether), str(os.getpid()), *argv)
