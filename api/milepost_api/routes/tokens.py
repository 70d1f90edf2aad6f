"""POST /v1/stream-tokens: a key asks for something that a browser may have."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Self, cast
from urllib.parse import urlencode

from annotated_types import Ge, Le, MaxLen, MinLen
from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, StrictInt, model_validator
from pydantic import StringConstraints as Text
from starlette.requests import Request
from starlette.responses import Response

from milepost.ids import JOB_ID
from milepost.times import rfc3339
from milepost_api.auth import SEAL
from milepost_api.problems import describe
from milepost_api.responses import JsonResponse
from milepost_api.services import RootPath, ServicesDep, TenantDep
from milepost_api.submit import Name, Plain
from milepost_api.tokens import Grant, Seal
from milepost_api.tokens.doors import MANY_JOBS
from milepost_api.tokens.grant import DAY_SECONDS, JOBS_MOST
from milepost_api.views import urls_of

router = APIRouter(tags=["tokens"])

JobName = Annotated[str, Text(pattern=f"^{JOB_ID.pattern}$")]


class TokenRequest(BaseModel):
    """What may be read: jobs by their ids, all with a tag, all of a batch, or all there are. Exactly one of these."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    jobs: Annotated[list[JobName], MinLen(1), MaxLen(JOBS_MOST)] | None = None
    tag: Annotated[str, Plain] | None = None
    batch: Annotated[str, Name] | None = None
    all: bool = False
    ttl_seconds: Annotated[StrictInt, Ge(1), Le(DAY_SECONDS)] = 900

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if [bool(self.jobs), self.tag is not None, self.batch is not None, self.all].count(True) != 1:
            raise ValueError("Give jobs, tag, batch or all, and one of them only")
        return self


@dataclass(frozen=True, slots=True)
class StreamToken:
    """A token; until `expires_at` it opens streams, until `resumable_until` it resumes them.

    `stream_url` is the address of the stream, the token in it: what a page gives to its EventSource.
    """

    token: str
    expires_at: str
    resumable_until: str
    stream_url: str


@router.post(
    "/stream-tokens",
    summary="Make a token for a browser",
    response_class=JsonResponse,
    status_code=201,
    responses={
        201: {"model": StreamToken},
        **describe("bad-request", "too-large", "unsupported-media-type", "invalid-request"),
    },
)
async def create_stream_token(
    request: Request, wanted: TokenRequest, services: ServicesDep, tenant: TenantDep, root_path: RootPath
) -> Response:
    """Return a token that reads some jobs for some time, and does nothing else. Jobs need not exist yet."""
    expires_at = int(time.time()) + wanted.ttl_seconds
    grant = Grant(
        tenant=tenant,
        expires_at=expires_at,
        jobs=frozenset(wanted.jobs or ()),
        tag=wanted.tag,
        batch=wanted.batch,
        everything=wanted.all,
    )
    token = cast("Seal", request.scope[SEAL]).sign(grant)
    answer = {
        "token": token,
        "expires_at": _moment(expires_at),
        "resumable_until": _moment(expires_at + services.settings.token_grace_seconds),
        "stream_url": _stream_url(root_path, wanted, token),
    }
    return JsonResponse(answer, status_code=201, headers={"Cache-Control": "no-store"})


def _moment(seconds: float) -> str:
    return rfc3339(datetime.fromtimestamp(seconds, UTC))


def _stream_url(root_path: str, wanted: TokenRequest, token: str) -> str:
    jobs: Sequence[str] = wanted.jobs or ()
    if len(jobs) == 1:
        return f"{urls_of(root_path, jobs[0])['stream']}?{urlencode({'token': token})}"
    named = {"job": list(jobs), "tag": wanted.tag or [], "batch": wanted.batch or [], "token": token}
    return f"{root_path}{MANY_JOBS}?{urlencode(named, doseq=True)}"
