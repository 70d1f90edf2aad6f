"""The shortest way to the stream of one job: of one that this process watches already, within the call that asks.

After a restart everybody comes back at once, and most of them to the same few jobs. No task, no scope, nothing that
stands around the app: what is said here is what the long way says (tests/integration/test_prompt.py compares them).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from fastapi import FastAPI
from starlette.types import Scope
from structlog.contextvars import bind_contextvars, reset_contextvars

from milepost_api.auth import KeyRing, tenant_by_key
from milepost_api.hub import Hub, Subscription, Wishes, subscribe_at_once
from milepost_api.protocol import Begun, Loan
from milepost_api.requests import RequestId, header, request_id_of
from milepost_api.routes.streams import kinds_in
from milepost_api.shortcut import asked_for
from milepost_api.streaming import NDJSON, SSE, Lanes, LentStream, accepts, head_of, opening_words


class PromptStreams:
    """A `Prompt` for requests that are as usual. All others take the long way: it knows the words."""

    def __init__(
        self, hub: Hub, lanes: Lanes, keys: KeyRing, *, root_path: str, stalled_seconds: float
    ) -> None:
        self._hub, self._lanes, self._keys = hub, lanes, keys
        self._root_path, self._stalled_seconds = root_path, stalled_seconds

    def __call__(self, scope: Scope) -> Begun | None:
        asked = asked_for({**scope, "root_path": self._root_path})
        if asked is None or header(scope, b"origin"):  # a page of another origin is answered by CORS
            return None
        kind = accepts(asked.accept, (SSE, NDJSON), SSE)
        tenant = tenant_by_key(scope, self._keys)
        if kind is None or tenant is None:
            return None
        wishes = Wishes(kinds=kinds_in(asked.events), min_interval_seconds=asked.min_interval_ms / 1000)
        subscription = subscribe_at_once(self._hub, asked.job_id, asked.cursor, wishes, tenant=tenant)
        if subscription is None:
            return None
        ndjson = kind == NDJSON
        try:
            first = opening_words(subscription.first_words(), ndjson=ndjson)
        except BaseException:
            subscription.close()
            raise
        named = request_id_of(scope)
        go_on = partial(self._go_on, subscription, named[1].decode(), ndjson=ndjson)
        return Begun([*head_of(kind), named], first, go_on, subscription.close)

    def _go_on(self, subscription: Subscription, request_id: str, loan: Loan, *, ndjson: bool) -> None:
        stalled = self._stalled_seconds
        bound = bind_contextvars(request_id=request_id)  # for the log of a task that it may need
        try:
            LentStream(self._lanes, loan, subscription, ndjson=ndjson, stalled_seconds=stalled).begin()
        finally:
            reset_contextvars(**bound)


def stands_alone(app: FastAPI, middlewares: Sequence[object]) -> bool:
    """Whether these are all of the app's middlewares, the outermost first, and nothing else is put around it.

    Else somebody wants to see every request: by a middleware of theirs, or by what traces requests, which puts itself
    between what FastAPI puts around all.
    """
    if [one.cls for one in app.user_middleware] != list(middlewares):
        return False
    inner: object = app.middleware_stack
    while not isinstance(inner, RequestId):
        if type(inner).__module__.partition(".")[0] not in ("starlette", "fastapi"):
            return False
        inner = getattr(inner, "app", None)
    return True
