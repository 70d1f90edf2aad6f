"""What the routes work with, in one typed object that lives as long as the process serves."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, cast

from fastapi import Depends, Request
from redis.asyncio import Redis

from milepost.errors import JobNotFound
from milepost.ids import is_job_id
from milepost.log import Catalogue, JobLog
from milepost.log.lifecycle import Lifecycle
from milepost_api.auth import TENANT
from milepost_api.catalogue import Offers
from milepost_api.desk import Desk
from milepost_api.hub import Hub
from milepost_api.lookup import Lookup
from milepost_api.many import Multiplexer
from milepost_api.records import Engines, JobStore
from milepost_api.revival import Revival
from milepost_api.roster import Roster
from milepost_api.settings import ApiSettings
from milepost_api.streaming import Lanes


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    """Opened by the lifespan of the app, closed with it."""

    settings: ApiSettings
    engines: Engines
    store: JobStore
    redis: Redis
    log: JobLog
    lifecycle: Lifecycle
    catalogue: Catalogue
    offers: Offers
    roster: Roster
    desk: Desk
    lookup: Lookup
    revival: Revival
    hub: Hub
    many: Multiplexer
    lanes: Lanes | None


# Coroutines, though they wait for nothing: FastAPI runs plain functions in threads, one after the other.


async def services_of(request: Request) -> Services:
    return cast("Services", request.app.state.services)


async def tenant_of(request: Request) -> str:
    """Return for whom the request is: its jobs are all that it may see or change."""
    return cast("str", request.scope[TENANT])


async def root_of(request: Request) -> str:
    """Return the path below which the app is served, "" at the root."""
    return str(request.scope.get("root_path", ""))


async def known_form(job_id: str) -> str:
    if not is_job_id(job_id):
        raise JobNotFound  # no job can have such an id
    return job_id


ServicesDep = Annotated[Services, Depends(services_of)]
TenantDep = Annotated[str, Depends(tenant_of)]
RootPath = Annotated[str, Depends(root_of)]
JobId = Annotated[str, Depends(known_form)]
