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

router = APIRouter(tags=["operations"])


@dataclass(frozen=True, slots=True)
class Health:
    status: Literal["ok"]


@dataclass(frozen=True, slots=True)
class Readiness:
    """Each part by name: `ok`, or a sentence."""

    status: Literal["ok"]
    parts: dict[str, str]


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
    checks = {"redis": _redis, "database": _database, "schema": _schema, "process": _process}
    sentences = await asyncio.gather(*(_sentence(check, services) for check in checks.values()))
    parts = dict(zip(checks, sentences, strict=True))
    failing = [f"{name}: {sentence}" for name, sentence in parts.items() if sentence != "ok"]
    if failing:
        return ProblemResponse("unavailable", " ".join(failing), parts=parts)
    return JsonResponse({"status": "ok", "parts": parts})


async def _sentence(check: Callable[[Services], Awaitable[None]], services: Services) -> str:
    try:
        await check(services)
    except MilepostError as error:
        return str(error)
    return "ok"


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
