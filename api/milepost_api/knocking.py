"""Redis as the API finds it when it starts."""

from __future__ import annotations

import asyncio

import structlog

from milepost.log.door import knock
from milepost.redis import check_url, connect, place

log = structlog.get_logger()

KNOCK_SECONDS = 5.0


async def check_redis(url: str) -> None:
    """Raise `SettingsError` when Redis will never let us in. When it is away it may come: the API starts without it."""
    check_url(url)
    redis = connect(url, retries=0)
    trouble: Exception | None
    try:
        async with asyncio.timeout(KNOCK_SECONDS):
            trouble = await knock(redis, url)
    except TimeoutError:
        trouble = TimeoutError(f"no answer within {KNOCK_SECONDS:g} s")
    finally:
        await redis.aclose()
    if trouble is not None:
        log.warning("redis cannot be reached; starting without it", redis=place(url), reason=str(trouble))
