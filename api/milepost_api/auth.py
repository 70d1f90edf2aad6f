"""Who may come in, and for which tenant. Closed by default: with keys set, every address needs one but health and

the files of the page, which hold nothing that is not public.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import math
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import cast

from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from milepost.errors import JobNotFound, MilepostError, StoreUnavailable
from milepost.job import Job
from milepost.tenants import DEFAULT_TENANT
from milepost_api.crossing import SAFE, comes_from_elsewhere
from milepost_api.pages import is_open
from milepost_api.problems import Problem, answer_to
from milepost_api.requests import header, path_of
from milepost_api.streaming import NDJSON, SSE, accepts, come_back_later
from milepost_api.tokens import BadToken, Grant, Seals
from milepost_api.tokens.doors import AGAIN, INVALID, check_time, pass_through, take_token
from milepost_api.tokens.seal import looks_like_a_token

OPEN_PATHS = frozenset({"/healthz", "/readyz"})
"""What a load balancer asks, and tells nobody anything."""
TENANT = "milepost.tenant"
"""Where the scope of a request that came in says for whom it is."""
SEAL = "milepost.seal"
"""Where it has what signs tokens for whoever came with an API key."""
READER = "milepost.reader"
"""Where it has the `Reader` who came with a token."""
HOW = "Send an API key: `Authorization: Bearer KEY`, or `X-API-Key: KEY`. Browsers get a token: POST /v1/stream-tokens."

ELSEWHERE = (
    "A page of another origin may change nothing here. Is it yours? Name its origin in MILEPOST_CORS_ORIGINS."
)


class KeyRing:
    """Knows the digests of the keys, never compares keys themselves: no timing tells how near a guess was."""

    def __init__(self, tenant_of: Mapping[str, str]) -> None:
        self._owners = tuple((_digest(key.encode()), tenant) for key, tenant in tenant_of.items())

    def __bool__(self) -> bool:
        return bool(self._owners)

    def tenant(self, key: bytes) -> str | None:
        """Return whose key it is, None if it is nobody's."""
        given = _digest(key)
        # All of them, always.
        owners = [owner for digest, owner in self._owners if hmac.compare_digest(given, digest)]
        return owners[0] if owners else None


def tenant_by_key(scope: Scope, keys: KeyRing) -> str | None:
    """Return for whom a request is that only reads, None where that is not said by its key: for `Auth` to find out."""
    given = given_key(scope)
    if given is None:
        return None if keys else DEFAULT_TENANT
    return keys.tenant(given) if keys else None


def _is_open(scope: Scope) -> bool:
    path = path_of(scope)
    return path in OPEN_PATHS or (scope["method"] in ("GET", "HEAD") and is_open(path))


class Auth:
    """Pure ASGI: a stream must not pass through anything that buffers.

    Who comes with an API key may do everything with the jobs of its tenant; who comes with a stream token, what that
    one grants, and no address beyond (`tokens.doors`).
    """

    def __init__(
        self,
        app: ASGIApp,
        keys: KeyRing,
        seals: Seals,
        *,
        grace_seconds: float = 0,
        origins: Collection[str] = (),
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._app, self._keys, self._seals = app, keys, seals
        self._grace, self._clock, self._origins = grace_seconds, clock, origins

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and not _is_open(scope):
            try:
                await self._let_in(scope)
            except (Problem, JobNotFound, StoreUnavailable) as error:
                await _refusal(error, scope)(scope, receive, send)
                return
        await self._app(scope, receive, send)

    async def _let_in(self, scope: Scope) -> None:
        """Write into the scope for whom the request is.

        Raises `Problem`, and `JobNotFound` and `StoreUnavailable` where a token asks for one job.
        """
        given, token = given_key(scope), take_token(scope)
        key = given if self._keys else None
        if key is not None and (tenant := self._keys.tenant(key)):
            scope[TENANT], scope[SEAL] = tenant, self._seals.of(key)
        elif given is not None and looks_like_a_token(text := given.decode("latin-1")):
            await self._let_in_by_token(scope, text)
        elif key is not None:
            raise Problem("unauthorized", "This API key is not one of this server's.", headers=INVALID)
        elif token is not None:
            await self._let_in_by_token(scope, token)
        elif self._keys:
            raise Problem("unauthorized", HOW)
        elif scope["method"] not in SAFE and comes_from_elsewhere(Headers(scope=scope), self._origins):
            raise Problem("forbidden", ELSEWHERE)
        else:
            scope[TENANT], scope[SEAL] = DEFAULT_TENANT, self._seals.of(None)

    async def _let_in_by_token(self, scope: Scope, token: str) -> None:
        async def find(job_id: str) -> Job:
            found = await scope["app"].state.services.lookup.find(job_id, grant.tenant)
            return cast("Job", found.job)

        try:
            grant = self._seals.open(token)
        except BadToken as error:
            detail = f"This is no token of this server: {error}. {AGAIN}"
            raise Problem("unauthorized", detail, headers=INVALID) from error
        check_time(scope, grant, self._clock(), self._grace)
        await pass_through(scope, grant, find)
        left = grant.expires_at + self._grace - self._clock()
        scope[TENANT], scope[READER] = grant.tenant, Reader(grant, asyncio.get_running_loop().time() + left)


@dataclass(frozen=True, slots=True)
class Reader:
    """Somebody who came with a token. `until`, by the clock of the event loop, its streams may stay open."""

    grant: Grant
    until: float


def reader_of(scope: Scope) -> Reader | None:
    """Return who reads by a token; None for the holder of a key, who may read everything of the tenant."""
    return cast("Reader | None", scope.get(READER))


def seconds_left(scope: Scope) -> float:
    """Return for how long whoever asks may go on reading."""
    reader = reader_of(scope)
    return max(0.0, reader.until - asyncio.get_running_loop().time()) if reader else math.inf


def _refusal(error: MilepostError, scope: Scope) -> Response:
    """Answer what a route would have answered."""
    if not isinstance(error, StoreUnavailable):
        return answer_to(error)
    sse = accepts(header(scope, b"accept"), (SSE, NDJSON), SSE) != NDJSON
    if scope["path"].endswith("/status/stream") and sse:
        return come_back_later()
    return answer_to(error)


def given_key(scope: Scope) -> bytes | None:
    """Return the key of `Authorization: Bearer KEY` or `X-API-Key: KEY`, None if there is neither."""
    scheme, _, credentials = header(scope, b"authorization").partition(" ")
    if scheme.lower() == "bearer" and credentials.strip():
        return credentials.strip().encode("latin-1")
    key = header(scope, b"x-api-key").strip()
    return key.encode("latin-1") if key else None


def _digest(key: bytes) -> bytes:
    return hashlib.sha256(key).digest()
