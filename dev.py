#!/usr/bin/env python3
"""The doors of this checkout. Nothing but Python is needed to open them.

    python3 dev.py run [milepost up arguments]   everything on this machine, on http://127.0.0.1:8000
    python3 dev.py test [pytest arguments]       the tests, with a real Redis, PostgreSQL, browser and Node
    python3 dev.py check                         formatting, lint, types, import arrows, docs
    python3 dev.py bench [arguments]             the benchmarks
    python3 dev.py faults [arguments]            jobs against dying processes, hundreds of rounds (--help)
    python3 dev.py lock [uv arguments]           write both lock files anew (--upgrade takes newer versions)

Each command makes what it needs in .venv (and, for the tests, asks apt or brew for a browser, a
Redis and proxies), says so while it does it, and is quiet when everything is in place.
"""

# This file alone must also be readable by an older Python, such as the 3.9 that macOS carries: it
# only looks for a younger one. All else is in devtools/, which may use what Python 3.11 has.

from __future__ import annotations

import os
import shutil
import sys

OLDEST = (3, 11)
NEWEST = (3, 14)  # the newest one that every locked package has a wheel for


def younger_python() -> str | None:
    """Find a Python on PATH that the locked packages support, newest first."""
    for minor in range(NEWEST[1], OLDEST[1] - 1, -1):
        path = shutil.which("python3.%d" % minor)
        # A pyenv shim is there for every version it knows of, also for those it refuses to start.
        if path and os.system('"%s" -c "" >/dev/null 2>&1' % path) == 0:
            return path
    return None


def main() -> int:
    """Open the door that the command line names, with a Python that fits."""
    if os.name != "posix":
        print("[dev] Milepost runs on Linux and macOS; on Windows, use WSL.", file=sys.stderr)
        return 2
    if not OLDEST <= sys.version_info[:2] <= NEWEST:
        python = younger_python()
        if python:
            os.execv(python, [python, os.path.abspath(__file__)] + sys.argv[1:])
        if sys.version_info < OLDEST:
            print(
                "[dev] Milepost needs Python 3.11 or newer and this is %d.%d. Install one "
                "(Debian: apt install python3, macOS: brew install python) and run this again."
                % sys.version_info[:2],
                file=sys.stderr,
            )
            return 2

    from devtools import doors

    return doors.open_door(sys.argv[1:], usage=__doc__ or "")


if __name__ == "__main__":
    sys.exit(main())
