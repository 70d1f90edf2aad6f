"""Ids of jobs (UUIDv7 text) and epochs (short random text)."""

from __future__ import annotations

import random
import re
import secrets
import time
import uuid
from collections.abc import Callable

JOB_ID = re.compile(r"[0-9A-Za-z_-]{1,64}")

_epochs = random.Random()
"""Of our own: a task may well seed the one that everybody shares."""


def new_job_id(
    now_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
    random_bits: Callable[[int], int] = secrets.randbits,
) -> str:
    """Return a UUIDv7 (RFC 9562 §5.7): sorts by creation time, cannot be guessed.

    >>> new_job_id(now_ms=lambda: 0, random_bits=lambda n: 0)
    '00000000-0000-7000-8000-000000000000'
    """
    value = (now_ms() & (2**48 - 1)) << 80
    value |= 0x7 << 76 | random_bits(12) << 64
    value |= 0b10 << 62 | random_bits(62)
    return str(uuid.UUID(int=value))


def new_epoch() -> str:
    """Return ten characters of `[0-9a-f]`: 40 bits, enough to tell two histories of one job apart.

    Every report carries one, for the case that Redis has lost the tail of the history: it must be cheap, and
    the operating system's randomness costs forty times as much. Nobody gains anything by guessing it.
    """
    return f"{_epochs.getrandbits(40):010x}"


def is_job_id(text: str) -> bool:
    """Whether `text` can name a job at all (a path segment of at most 64 safe characters)."""
    return JOB_ID.fullmatch(text) is not None
