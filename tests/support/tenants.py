"""One API that two tenants use, and callers who have nothing but their key."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace

import httpx2
from milepost_api.settings import ApiSettings
from redis.asyncio import Redis

from milepost.log.keys import events_key, result_key, state_key
from tests.support.api import Api, serving
from tests.support.wait import eventually

KEYS = "acme:acme-key, acme:acme-new-key, globex:globex-key, old-key"
"""For `MILEPOST_API_KEYS`: `acme` is getting a new key, `old-key` is from before there were tenants."""


@dataclass(frozen=True)
class Tenants:
    """The API as each of them uses it."""

    acme: Api
    globex: Api
    default: Api


@asynccontextmanager
async def serving_tenants(wanted: ApiSettings) -> AsyncIterator[Tenants]:
    """Serve until the block ends. `wanted` holds `KEYS`."""
    async with (
        serving(wanted) as api,
        caller(api, "acme-key") as acme,
        caller(api, "globex-key") as globex,
        caller(api, "old-key") as default,
    ):
        yield Tenants(acme, globex, default)


@asynccontextmanager
async def caller(api: Api, key: str) -> AsyncIterator[Api]:
    """The same API with the key of somebody else."""
    async with httpx2.AsyncClient(
        base_url=api.http.base_url, headers={"x-api-key": key}, timeout=30, trust_env=False
    ) as http:
        yield replace(api, http=http)


async def forgotten(api: Api, redis: Redis, job_id: str) -> None:
    """Let Redis forget a job that is done, once its record has the end."""

    async def recorded() -> bool:
        record = await api.services.store.get(job_id)
        return record is not None and record.done

    await eventually(recorded, "the end is recorded")
    await redis.delete(state_key(job_id), events_key(job_id), result_key(job_id))
