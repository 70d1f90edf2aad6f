"""File descriptors: every stream is one, and a process that has none left can do nothing any more."""

from __future__ import annotations

import contextlib
import resource

WANTED = 65_536
"""As many as a process of this kind can serve; more only makes what goes through all of them slower."""

KEPT = 64
"""For Redis, the database, log files and requests that are over at once; at least, or a fifth of all."""


def raise_limit() -> None:
    """Take as many file descriptors as the system lets this process have.

    The soft limit is 1024 in most places, for the sake of programs that call select(); the hard one is what was meant.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = WANTED if hard == resource.RLIM_INFINITY else min(WANTED, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with contextlib.suppress(ValueError):  # macOS names no hard limit and has one; then it stays as it is
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def room_for_streams() -> int | None:
    """Return how many streams the limit leaves room for, None if there is none."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return None if soft == resource.RLIM_INFINITY else max(1, soft - max(KEPT, soft // 5))
