"""The short way to submit a job, past the router and the machinery that binds parameters.

Both take longer than it takes to commit the job, and somebody waits for it to begin.
"""

from __future__ import annotations

import json
import re

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from milepost_api.auth import TENANT
from milepost_api.problems import answer_to_any
from milepost_api.requests import path_of
from milepost_api.routes.submit import KEY, take
from milepost_api.submit import Submission

SMALL_BYTES = 65_536
"""Larger bodies go to the route, and through the limit on bodies."""


class Express:
    """Takes submissions that are as usual. All others, wrong ones among them, go to the route: it knows the words."""

    def __init__(self, app: ASGIApp, limit_bytes: int) -> None:
        self._app, self._limit = app, min(limit_bytes, SMALL_BYTES)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if not is_usual(scope, self._limit):
            await self._app(scope, receive, send)
            return
        came = await _body(receive, self._limit)
        submission = read(came)
        if submission is None:
            await self._app(scope, _again(came, receive), send)
            return
        headers = Headers(scope=scope)
        try:
            response = await take(
                scope["app"].state.services,
                scope[TENANT],
                scope.get("root_path", ""),
                submission,
                headers.get("idempotency-key"),
                headers.getlist("prefer"),
                headers.get("accept", ""),
            )
        except Exception as error:  # noqa: BLE001 - what is none of ours is raised again
            response = answer_to_any(error)
        await response(scope, receive, send)


def is_usual(scope: Scope, limit_bytes: int) -> bool:
    """Whether this may be a submission that the route would take without a word."""
    if scope["type"] != "http" or scope["method"] != "POST":
        return False
    if path_of(scope) != "/v1/jobs":
        return False
    headers = Headers(scope=scope)
    kind, keys = headers.get("content-type", ""), headers.getlist("idempotency-key")
    length = headers.get("content-length", "")
    return (
        kind.partition(";")[0].strip().lower() == "application/json"
        and re.fullmatch("[0-9]{1,9}", length) is not None
        and 0 < int(length) <= limit_bytes
        and (not keys or (len(keys) == 1 and re.fullmatch(KEY, keys[0]) is not None))
    )


def read(came: list[Message]) -> Submission | None:
    """Return the submission in what a client has sent, None if there is anything wrong with it."""
    if came[-1]["type"] != "http.request" or came[-1].get("more_body"):
        return None
    try:
        return Submission.model_validate(json.loads(b"".join(message.get("body", b"") for message in came)))
    except (ValueError, RecursionError):
        return None


async def _body(receive: Receive, limit_bytes: int) -> list[Message]:
    """Return the messages of a body, to its end or to the first byte too many."""
    came: list[Message] = []
    left = limit_bytes
    while left >= 0:
        message = await receive()
        came.append(message)
        left -= len(message.get("body", b""))
        if message["type"] != "http.request" or not message.get("more_body"):
            break
    return came


def _again(came: list[Message], receive: Receive) -> Receive:
    """Return a `receive` that says again what has come already."""
    said = iter(came)

    async def again() -> Message:
        message = next(said, None)
        return await receive() if message is None else message

    return again
