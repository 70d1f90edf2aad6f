"""How much a client may send. Pure ASGI."""

from __future__ import annotations

import asyncio
from contextlib import suppress

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from milepost_api.problems import ProblemResponse

LINGER_SECONDS = 2.0
CLOSE = {"Connection": "close"}


class BodyLimit:
    """Answers 413: by `Content-Length` before a byte is read, else at the first byte too many."""

    def __init__(self, app: ASGIApp, limit_bytes: int) -> None:
        self._app, self._limit = app, limit_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        exchange = _Exchange(receive, send, self._limit)
        announced = Headers(scope=scope).get("content-length", "")
        if announced.isdecimal() and int(announced[:20]) > self._limit:
            exchange.exceeded = True
            refusal = ProblemResponse("too-large", exchange.sentence, headers=CLOSE)
            await refusal(scope, exchange.receive, exchange.send)
        else:
            await self._app(scope, exchange.receive, exchange.send)


class _Exchange:
    """Counts what comes in; after too much of it, the answer is not followed by a slammed door."""

    def __init__(self, receive: Receive, send: Send, limit: int) -> None:
        self._receive, self._send, self._limit = receive, send, limit
        self._seen = 0
        self.exceeded = False

    @property
    def sentence(self) -> str:
        return (
            f"A body holds at most {self._limit:,} bytes; store larger data elsewhere and send its address."
        )

    async def receive(self) -> Message:
        message = await self._receive()
        self._seen += len(message.get("body", b""))
        if self._seen > self._limit:
            self.exceeded = True
            raise HTTPException(413, self.sentence, headers=CLOSE)
        return message

    async def send(self, message: Message) -> None:
        last = message["type"] == "http.response.body" and not message.get("more_body")
        if not (self.exceeded and last):
            await self._send(message)
            return
        # Closing now would reset the connection while the client still writes, and many clients would then
        # lose the answer: the rest is thrown away for a little while first, as nginx does (lingering_close).
        await self._send({**message, "more_body": True})
        with suppress(TimeoutError):  # a slow sender has had its time, and its answer
            async with asyncio.timeout(LINGER_SECONDS):
                while (more := await self._receive())["type"] == "http.request" and more.get("more_body"):
                    pass
        await self._send({"type": "http.response.body", "body": b""})
