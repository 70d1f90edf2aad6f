"""How much a client may send. Pure ASGI."""

from __future__ import annotations

import asyncio

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from milepost_api.problems import ProblemResponse

LINGER_SECONDS = 2.0


class BodyLimit:
    """Answers 413: by `Content-Length` before a byte is read, else at the first byte too many."""

    def __init__(self, app: ASGIApp, limit_bytes: int) -> None:
        self._app, self._limit = app, limit_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        announced = Headers(scope=scope).get("content-length", "")
        if announced.isdecimal() and int(announced[:20]) > self._limit:
            await self._refuse(scope, receive, send)
        else:
            await self._app(scope, self._counted(receive), send)

    def _counted(self, receive: Receive) -> Receive:
        seen = 0

        async def counted() -> Message:
            nonlocal seen
            message = await receive()
            seen += len(message.get("body", b""))
            if seen > self._limit:
                raise HTTPException(413, self._sentence(), headers={"Connection": "close"})
            return message

        return counted

    async def _refuse(self, scope: Scope, receive: Receive, send: Send) -> None:
        response = ProblemResponse("too-large", self._sentence(), headers={"Connection": "close"})
        await send({"type": "http.response.start", "status": 413, "headers": response.raw_headers})
        await send({"type": "http.response.body", "body": bytes(response.body), "more_body": True})
        # The answer is out. Closing now would reset the connection while the client still writes, and many
        # clients would then lose the answer: a little of the rest is thrown away first, as nginx does.
        try:
            async with asyncio.timeout(LINGER_SECONDS):
                while (message := await receive())["type"] == "http.request" and message.get("more_body"):
                    pass
        except TimeoutError:
            pass  # a slow sender has had its time; the connection is closed on it
        await send({"type": "http.response.body", "body": b""})

    def _sentence(self) -> str:
        return (
            f"A body holds at most {self._limit:,} bytes; store larger data elsewhere and send its address."
        )
