"""Every request has an id, in its answer and in every log line; an error nobody expected ends here."""

from __future__ import annotations

import re

import structlog
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from milepost.ids import new_job_id
from milepost_api.problems import ProblemResponse

_SAFE = re.compile(r"[0-9A-Za-z._-]{1,64}", re.ASCII)
log = structlog.get_logger()


class RequestId:
    """Pure ASGI, the outermost: what it catches would otherwise reach the client as a dropped connection."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = _request_id(Headers(scope=scope))
        started = False

        async def tagged(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                MutableHeaders(scope=message)["X-Request-ID"] = request_id
            await send(message)

        with structlog.contextvars.bound_contextvars(request_id=request_id):
            try:
                await self._app(scope, receive, tagged)
            except Exception:
                # The path without its query: tokens travel there.
                log.exception("request failed", method=scope["method"], path=scope["path"])
                if started:
                    raise  # the answer cannot be taken back; the server closes the connection
                await _failed(request_id)(scope, receive, tagged)


def _request_id(headers: Headers) -> str:
    given = headers.get("x-request-id", "")
    return given if _SAFE.fullmatch(given) else new_job_id()


def _failed(request_id: str) -> ProblemResponse:
    return ProblemResponse(
        "internal",
        f"Something went wrong on the server. Its log tells more under request id {request_id}.",
        request_id=request_id,
    )
