"""What must be right before a worker takes its first job; what is not is a sentence and exit code 2."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

import structlog

from milepost.errors import SettingsError
from milepost.log.door import knock
from milepost.redis import connect, place
from milepost.redis.trouble import words

log = structlog.get_logger("milepost.worker")

AGAIN_SECONDS = 0.5


async def redis_answers(
    url: str, *, within_seconds: float, clock: Callable[[], float] = time.monotonic
) -> None:
    """Return when Redis answers. Raises `SettingsError` when it refuses us, or is away for so long."""
    redis, until = connect(url, retries=0), clock() + within_seconds
    told = False
    try:
        while (error := await knock(redis, url)) is not None:
            if clock() >= until:
                raise SettingsError(
                    f"MILEPOST_REDIS_URL: Redis at {place(url)} cannot be reached: {words(error)}."
                )
            if not told:
                log.warning("worker.waits_for_redis", redis=place(url), error=str(error))
                told = True
            await asyncio.sleep(AGAIN_SECONDS)
    finally:
        await redis.aclose()
