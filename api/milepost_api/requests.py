"""Every request has an id, in its answer and in every log line; an error nobody expected ends here."""

from __future__ import annotations

import re
import secrets
from itertools import count

import structlog
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from structlog.contextvars import bind_contextvars, reset_contextvars

from milepost_api.problems import ProblemResponse

_HEADER = b"x-request-id"
_SAFE = re.compile(r"[0-9A-Za-z._-]{1,64}", re.ASCII)
# Of this process, then of the request: as telling as random ones, and a reconnect storm asks for many.
_PROCESS, _NUMBERS = secrets.token_hex(6), count(1)
log = structlog.get_logger()


def header(scope: Scope, name: bytes) -> str:
    """Return a header of a request, the first of that name (in lower case); "" if there is none.

    What every request is asked for is asked for in this way: `Headers` encodes and compares name by name.
    """
    for key, value in scope["headers"]:
        if key == name:
            return str(value, "latin-1")
    return ""


def path_of(scope: Scope) -> str:
    """Return the path of a request below the root of this app, as the router sees it; "" is the bare root."""
    path, root = str(scope["path"]), str(scope.get("root_path", ""))
    inside = path == root or path.startswith(f"{root}/")
    return path.removeprefix(root) if inside else path


def request_id_of(scope: Scope) -> tuple[bytes, bytes]:
    """Return the header that names a request in its answer: as its client calls it, if that is fit to be logged."""
    given = header(scope, _HEADER)
    return _HEADER, (given if _SAFE.fullmatch(given) else f"{_PROCESS}-{next(_NUMBERS):x}").encode()


class RequestId:
    """Pure ASGI, the outermost: what it catches would otherwise reach the client as a dropped connection."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        named = request_id_of(scope)
        request_id, started = named[1].decode(), False

        async def tagged(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                message["headers"] = [*message.get("headers", ()), named]
            await send(message)

        bound = bind_contextvars(request_id=request_id)
        try:
            await self._app(scope, receive, tagged)
        except Exception:
            # The path without its query: tokens travel there.
            log.exception("request failed", method=scope["method"], path=scope["path"])
            if started:
                raise  # the answer cannot be taken back; the server closes the connection
            await _failed(request_id)(scope, receive, tagged)
        finally:
            reset_contextvars(**bound)


def _failed(request_id: str) -> ProblemResponse:
    return ProblemResponse(
        "internal",
        f"Something went wrong on the server. Its log tells more under request id {request_id}.",
        request_id=request_id,
    )
