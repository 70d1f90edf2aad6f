"""How a task's process is kept within its memory limit.

Two means. The fork server looks at the resident memory every tenth of a second and kills what is over the limit:
that is exact, counts what `top` counts, works on Linux and macOS, and cannot be held up by the task. Between two
looks a task may allocate gigabytes, and take the machine with it. So on Linux a wall stands a little farther out:
RLIMIT_DATA, beyond which an allocation raises MemoryError. It cannot be the limit itself: it counts what is
reserved and never touched as well, the stacks of threads for one. RLIMIT_AS would count mapped files on top.
"""

from __future__ import annotations

import sys
from contextlib import suppress
from pathlib import Path

if sys.platform != "win32":
    import resource

WALL_BYTES_LEAST = 256 << 20

OOM_SCORE = 500
"""From -1000 to 1000, for the kernel's choice when the machine is out of memory: rather this than its worker."""


def build_wall(limit: int) -> None:
    """Have allocations fail that lead far beyond `limit` (bytes; 0 for none)."""
    if limit and sys.platform == "linux":
        _, hard = resource.getrlimit(resource.RLIMIT_DATA)
        wall = limit + max(limit // 2, WALL_BYTES_LEAST)
        resource.setrlimit(resource.RLIMIT_DATA, (wall if hard < 0 else min(wall, hard), hard))


def take_down_wall() -> None:
    if sys.platform == "linux":
        _, hard = resource.getrlimit(resource.RLIMIT_DATA)
        resource.setrlimit(resource.RLIMIT_DATA, (hard, hard))


def be_the_first_to_go() -> None:
    """Ask the kernel to choose this process when it must kill one: raising one's own score is always allowed."""
    if sys.platform == "linux":
        with suppress(OSError, ValueError):
            score = Path("/proc/self/oom_score_adj")
            score.write_text(str(max(OOM_SCORE, int(score.read_text()))))
