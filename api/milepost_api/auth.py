"""Who may come in, and for which tenant. Closed by default: with keys set, every address but health needs one."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from milepost.tenants import DEFAULT_TENANT
from milepost_api.problems import ProblemResponse

OPEN_PATHS = frozenset({"/healthz", "/readyz"})
"""What a load balancer asks, and tells nobody anything."""
TENANT = "milepost.tenant"
"""Where the scope of a request that came in says for whom it is."""


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


class Auth:
    """Pure ASGI: a stream must not pass through anything that buffers."""

    def __init__(self, app: ASGIApp, keys: KeyRing) -> None:
        self._app, self._keys = app, keys

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"] not in OPEN_PATHS:
            key = given_key(Headers(scope=scope)) if self._keys else None
            tenant = self._tenant(key)
            if tenant is None:
                await _refuse(key)(scope, receive, send)
                return
            scope[TENANT] = tenant
        await self._app(scope, receive, send)

    def _tenant(self, key: bytes | None) -> str | None:
        if not self._keys:
            return DEFAULT_TENANT
        return None if key is None else self._keys.tenant(key)


def given_key(headers: Headers) -> bytes | None:
    """Return the key of `Authorization: Bearer KEY` or `X-API-Key: KEY`, None if there is neither."""
    scheme, _, credentials = headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer" and credentials.strip():
        return credentials.strip().encode("latin-1")
    key = headers.get("x-api-key", "").strip()
    return key.encode("latin-1") if key else None


def _refuse(key: bytes | None) -> ProblemResponse:
    if key is None:
        return ProblemResponse(
            "unauthorized", "Send an API key: `Authorization: Bearer KEY`, or `X-API-Key: KEY`."
        )
    return ProblemResponse(
        "unauthorized",
        "This API key is not one of this server's.",
        headers={"WWW-Authenticate": 'Bearer realm="milepost", error="invalid_token"'},  # RFC 6750 §3
    )


def _digest(key: bytes) -> bytes:
    return hashlib.sha256(key).digest()
