"""Become another program that does not outlive its parent: `python tether.py PARENT_PID PROGRAM ARGUMENT...`.

Linux only (prctl(2), PR_SET_PDEATHSIG). A program of its own, because Python code between fork and exec
(`preexec_fn`) may deadlock in a parent that has threads. Standard library only: it runs with -I -S.
"""

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1  # linux/prctl.h


def main() -> None:
    """Arm the tether, then become the program."""
    parent, *argv = sys.argv[1:]
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != int(parent):  # it died before the call above: nobody would ever tell us
        sys.exit(1)
    try:
        os.execvp(argv[0], argv)  # noqa: S606 -- a shell is what must not come between
    except OSError as error:
        sys.exit(f"{argv[0]} cannot be started: {error.strerror}")


if __name__ == "__main__":
    main()
