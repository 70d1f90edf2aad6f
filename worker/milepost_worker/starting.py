"""What must be right before a worker takes its first job; what is not is a sentence and exit code 2."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

import structlog
from redis.asyncio import Redis
from redis.exceptions import AuthenticationError, AuthorizationError, BusyLoadingError, RedisError

from milepost.errors import SettingsError
from milepost.redis import UNREACHABLE, connect, is_transient, place

log = structlog.get_logger("milepost.worker")

AGAIN_SECONDS = 0.5


async def redis_answers(
    url: str, *, within_seconds: float, clock: Callable[[], float] = time.monotonic
) -> None:
    """Return when Redis answers. Raises `SettingsError` when it refuses us, or is away for so long."""
    redis, until = connect(url, retries=0), clock() + within_seconds
    told = False
    try:
        while (error := await _trouble(redis, url)) is not None:
            if clock() >= until:
                raise SettingsError(
                    f"MILEPOST_REDIS_URL: Redis at {place(url)} cannot be reached: {_words(error)}."
                )
            if not told:
                log.warning("worker.waits_for_redis", redis=place(url), error=str(error))
                told = True
            await asyncio.sleep(AGAIN_SECONDS)
    finally:
        await redis.aclose()


async def _trouble(redis: Redis, url: str) -> Exception | None:
    try:
        await redis.ping()
    except (AuthenticationError, AuthorizationError) as error:
        raise _refused(url, error) from error  # a ConnectionError to redis-py, but asking again will not help
    except (BusyLoadingError, *UNREACHABLE) as error:
        return error
    except RedisError as error:
        if not is_transient(error):
            raise _refused(url, error) from error
        return error
    return None


def _refused(url: str, error: Exception) -> SettingsError:
    return SettingsError(f"MILEPOST_REDIS_URL: {place(url)} does not let us in: {_words(error)}.")


def _words(error: Exception) -> str:
    return " ".join(str(error).split()).removesuffix(".") or type(error).__name__
