"""GET /healthz: the process answers. GET /readyz: it can do its work."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Literal

from fastapi import APIRouter
from starlette.responses import Response

from milepost.errors import MilepostError
from milepost_api.lookup import redis_answers
from milepost_api.problems import ProblemResponse, describe
from milepost_api.records import schema
from milepost_api.responses import JsonResponse
from milepost_api.services import Services, ServicesDep

USELESS_AFTER_SECONDS = 30.0
"""A process that has not heard Redis for so long will not by itself. Shorter, and an outage of Redis would take every
process out of the proxy at once, and give their readers nowhere to come back to."""

Check = Callable[[Services], Awaitable[None]]
router = APIRouter(tags=["operations"])


@dataclass(frozen=True, slots=True)
class Health:
    status: Literal["ok"]


@dataclass(frozen=True, slots=True)
class Readiness:
    """Each part by name: `ok`, or a sentence. `degraded`: it works, and something is worse than it should be."""

    status: Literal["ok", "degraded"]
    parts: dict[str, str]
    lag_seconds: float
    """How long an event takes from Redis to this process."""


class Degraded(MilepostError):
    """This part works, and worse than it should."""


@router.get(
    "/healthz", summary="Is it alive", response_class=JsonResponse, responses={200: {"model": Health}}
)
async def healthz() -> Response:
    """Answer as long as the process answers at all: restart it if not. Nothing else is asked."""
    return JsonResponse({"status": "ok"})


@router.get(
    "/readyz",
    summary="Can it work",
    response_class=JsonResponse,
    responses={200: {"model": Readiness}, **describe("unavailable")},
)
async def readyz(services: ServicesDep) -> Response:
    """Ask Redis and the database; send no traffic here while it says 503, as it also does while leaving."""
    found = dict(
        zip(CHECKS, await asyncio.gather(*(_error(one, services) for one in CHECKS.values())), strict=True)
    )
    parts = {name: "ok" if error is None else str(error) for name, error in found.items()}
    failing = [name for name, error in found.items() if error is not None and not isinstance(error, Degraded)]
    if failing:
        return ProblemResponse(
            "unavailable", " ".join(f"{name}: {parts[name]}" for name in failing), parts=parts
        )
    status = "degraded" if any(found.values()) else "ok"
    lag = round(services.hub.lag_seconds, 4)
    return JsonResponse({"status": status, "parts": parts, "lag_seconds": lag})


async def _error(check: Check, services: Services) -> MilepostError | None:
    try:
        await check(services)
    except MilepostError as error:
        return error
    return None


async def _redis(services: Services) -> None:
    async with redis_answers(services.settings.redis_answer_seconds):
        await services.redis.ping()


async def _database(services: Services) -> None:
    await services.store.ping()


async def _schema(services: Services) -> None:
    await schema.require_current(services.engines)


async def _process(services: Services) -> None:
    if services.hub.draining.is_set():
        raise MilepostError("It is leaving.")


async def _stream(services: Services) -> None:
    """Streams go on without the subscription, a few seconds behind: another API is better, none at all is worse.

    So for a while it is only said: an interruption of all of them must not take all of them away at once.
    """
    health = services.hub.health
    if not health.degraded:
        return
    silent = health.silent_seconds
    words = (
        f"Redis has published nothing to this process for {silent:.0f} s: streams are a few seconds behind."
    )
    raise MilepostError(words) if silent > USELESS_AFTER_SECONDS else Degraded(words)


async def _seats(services: Services) -> None:
    if services.hub.seats.full:
        raise Degraded(
            f"All {services.hub.seats.limit} streams are taken: who comes now is asked to come back."
        )


CHECKS: dict[str, Check] = {
    "redis": _redis,
    "database": _database,
    "schema": _schema,
    "process": _process,
    "stream": _stream,
    "seats": _seats,
}
