"""Who may come in. Closed by default: with keys set, every address but health needs one."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from milepost_api.problems import ProblemResponse

OPEN_PATHS = frozenset({"/healthz", "/readyz"})
"""What a load balancer asks, and tells nobody anything."""


class KeyRing:
    """Knows the digests of the keys, never compares keys themselves: no timing tells how near a guess was."""

    def __init__(self, keys: Iterable[str]) -> None:
        self._digests = tuple(_digest(key.encode()) for key in keys)

    def __bool__(self) -> bool:
        return bool(self._digests)

    def opens(self, key: bytes) -> bool:
        given = _digest(key)
        matches = [hmac.compare_digest(given, digest) for digest in self._digests]  # all of them, always
        return any(matches)


class Auth:
    """Pure ASGI: a stream must not pass through anything that buffers."""

    def __init__(self, app: ASGIApp, keys: KeyRing) -> None:
        self._app, self._keys = app, keys

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and self._keys and scope["path"] not in OPEN_PATHS:
            key = given_key(Headers(scope=scope))
            if key is None or not self._keys.opens(key):
                await _refuse(key)(scope, receive, send)
                return
        await self._app(scope, receive, send)


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
