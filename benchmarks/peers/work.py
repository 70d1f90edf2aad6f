"""What every queue's jobs do: note the moment, in a list in Redis that the benchmark reads."""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import Awaitable, Callable

from redis import Redis

from benchmarks.peers import NOTES

URL = os.environ.get("MILEPOST_REDIS_URL", "redis://127.0.0.1:6379/0")
Send = Callable[..., Awaitable[None]]
_redis = Redis.from_url(URL)
_count = itertools.count(1)


def stamp() -> None:
    """Note the moment: a job was picked up."""
    _redis.rpush(NOTES, time.monotonic_ns())


def count(total: int) -> None:
    """Note the moments of the first and of the last of `total` jobs; the others do nothing at all."""
    if next(_count) in (1, total):
        stamp()
