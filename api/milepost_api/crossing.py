"""What pages of other origins may do (CORS): nothing, but for those that the settings name."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from starlette.types import ASGIApp

SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
"""Methods that change nothing (RFC 9110 §9.2.1): of their answers a page of another origin sees nothing."""

METHODS = ("GET", "POST", "PUT", "DELETE")
SENT = (
    *("Authorization", "Content-Type", "Idempotency-Key", "If-None-Match"),
    *("Last-Event-ID", "Prefer", "X-API-Key", "X-Request-ID"),
)
SEEN = (
    *("ETag", "Idempotency-Replayed", "Location", "Preference-Applied"),
    *("Retry-After", "WWW-Authenticate", "X-Request-ID"),
)
PREFLIGHT_SECONDS = 7200  # the most that Chromium keeps an answer


def origins(text: str) -> Iterable[str]:
    """Read a list of origins, separated by commas. Raises `ValueError` for what is no exact origin."""
    for one in filter(None, (part.strip() for part in text.split(","))):
        parts = urlsplit(one)
        if parts.scheme not in {"http", "https"} or one != f"{parts.scheme}://{parts.netloc}" or "@" in one:
            # A star would let every page that somebody on this machine visits start jobs where there are no keys.
            raise ValueError(
                "an origin is written as browsers send it, https://app.example.org or http://localhost:5173: "
                "exact, without a path or a slash at its end; * is not taken"
            )
        if one != one.lower() or not parts.hostname or "*" in one:
            raise ValueError("an origin names one host, in lower case")
        yield one


def comes_from_elsewhere(headers: Mapping[str, str], allowed: Collection[str]) -> bool:
    """Whether a request that is not `SAFE` is that of a page of an origin that is not allowed. Programs are no pages.

    A browser sends a POST without a body for every page, and only keeps the answer from it. Where no key is needed
    that would be enough to delete all jobs. `Sec-Fetch-Site` cannot be set by a page (Fetch Metadata, §2.3); browsers
    that do not send it say the origin, which is compared with the host that was asked.
    """
    origin = headers.get("origin", "")
    if origin in allowed:
        return False
    if site := headers.get("sec-fetch-site", ""):
        return site not in ("same-origin", "none")
    return bool(origin) and urlsplit(origin).netloc != headers.get("host", "")


def cross_origin(app: ASGIApp, allowed: Iterable[str]) -> Any:
    """Return `app` behind the answers to preflights, with the headers that let those pages read what it says.

    They are on every answer, 204, 401 and 503 as well: without them a page cannot tell what happened. Cookies are
    none of it (no `Access-Control-Allow-Credentials`): who comes is known by a key or a token.
    """
    from starlette.middleware.cors import CORSMiddleware

    return CORSMiddleware(
        app,
        allow_origins=list(allowed),
        allow_methods=METHODS,
        allow_headers=SENT,
        expose_headers=SEEN,
        max_age=PREFLIGHT_SECONDS,
    )
