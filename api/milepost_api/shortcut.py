"""The short way to the stream of one job, past the router and the machinery that binds parameters.

Both take longer than all the rest of opening a stream, and after a restart everybody comes back at once.
"""

from __future__ import annotations

import re
from typing import NamedTuple
from urllib.parse import parse_qsl

from starlette.types import ASGIApp, Receive, Scope, Send

from milepost.ids import JOB_ID
from milepost_api.problems import answer_to_any
from milepost_api.requests import header, path_of
from milepost_api.routes.streams import open_stream

_PATH = re.compile(rf"/v1/jobs/({JOB_ID.pattern})/status/stream")
_KNOWN = frozenset({"last_event_id", "events", "min_interval_ms"})
_INTERVAL = re.compile(r"[0-9]{1,4}", re.ASCII)


class Asked(NamedTuple):
    """What the route would have made of a request."""

    job_id: str
    accept: str
    cursor: str | None
    events: str | None
    min_interval_ms: int


class Shortcut:
    """Takes the requests that are as usual. All others, wrong ones among them, go to the route: it knows the words."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        asked = asked_for(scope)
        if asked is None:
            await self._app(scope, receive, send)
            return
        try:
            response = await open_stream(scope["app"].state.services, scope, *asked)
        except Exception as error:  # noqa: BLE001 - what is none of ours is raised again
            response = answer_to_any(error)
        await response(scope, receive, send)


def asked_for(scope: Scope) -> Asked | None:
    """Return which stream a request is for; None if it is for none, or for one in an unusual way."""
    if scope["type"] != "http" or scope["method"] != "GET":
        return None
    found = _PATH.fullmatch(path_of(scope))
    if found is None:
        return None
    accept, cursor, query = header(scope, b"accept"), header(scope, b"last-event-id"), scope["query_string"]
    if not query:
        return Asked(found[1], accept, cursor or None, None, 0)
    given = dict(parse_qsl(query.decode("latin-1"), keep_blank_values=True))
    interval = given.get("min_interval_ms", "0")
    if not given.keys() <= _KNOWN or not _INTERVAL.fullmatch(interval):
        return None
    return Asked(found[1], accept, cursor or given.get("last_event_id"), given.get("events"), int(interval))
