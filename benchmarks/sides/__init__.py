"""The servers of streams that are measured beside each other."""

from benchmarks.sides.better_sse import BETTER_SSE
from benchmarks.sides.nchan import NCHAN
from benchmarks.sides.python import FASTAPI, MILEPOST, TUTORIAL
from benchmarks.sides.side import Server, Side

SIDES = (TUTORIAL, FASTAPI, BETTER_SSE, NCHAN, MILEPOST)


def sides() -> list[Side]:
    """Return those that can be measured here; what is missing is said when `dev.py` looks for it."""
    return [side for side in SIDES if side.is_here]


__all__ = ["FASTAPI", "MILEPOST", "NCHAN", "SIDES", "TUTORIAL", "Server", "Side", "sides"]
