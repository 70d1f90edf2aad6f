"""Which addresses a token opens: those that are named here, and no other."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from urllib.parse import parse_qsl, urlencode

from starlette.datastructures import Headers, QueryParams
from starlette.types import Scope

from milepost.codec import Cursor
from milepost.errors import JobNotFound
from milepost.ids import is_job_id
from milepost.job import Job
from milepost.times import rfc3339
from milepost_api.problems import Problem
from milepost_api.requests import path_of
from milepost_api.tokens.grant import Grant
from milepost_api.views import RESERVED_IDS

_ONE_JOB = re.compile(r"/v1/jobs/([^/]+)(|/status|/status/stream|/result|/events|/logs)")
MANY_JOBS = "/v1/status/stream"

FindJob = Callable[[str], Awaitable[Job]]
"""Returns the tenant's job. Raises `JobNotFound`, `StoreUnavailable`."""

AGAIN = "Ask for a new one with an API key: POST /v1/stream-tokens."


def opens(method: str, path: str) -> bool:
    """Whether a token may open this address at all."""
    found = _ONE_JOB.fullmatch(path)
    return method == "GET" and (path == MANY_JOBS or (found is not None and found[1] not in RESERVED_IDS))


async def pass_through(scope: Scope, grant: Grant, find: FindJob) -> None:
    """Return if this request may read what it asks for.

    Raises `Problem` where a token opens nothing, `JobNotFound` for a job that this one does not, there or not, and
    whatever `find` raises.
    """
    path = path_of(scope)
    if not opens(scope["method"], path):
        raise Problem(
            "forbidden",
            f"A stream token reads {grant} and does nothing else. Send an API key to {scope['method']} {path[:200]}.",
        )
    if path == MANY_JOBS:
        _check_selection(QueryParams(scope["query_string"]), grant)
    else:
        await _check_job(path.split("/")[3], grant, find)


def _check_selection(query: QueryParams, grant: Grant) -> None:
    jobs = [one.partition("@")[0] for one in query.getlist("job")]  # with or without a cursor
    if grant.jobs and jobs and not all(grant.allows_job(one) for one in jobs):
        raise JobNotFound  # whether there is such a job is not for this token to learn
    if not grant.allows_selection(jobs=jobs, tags=query.getlist("tag"), batches=query.getlist("batch")):
        raise Problem(
            "forbidden", f"This token reads {grant}: name these, and no others, in the address of the stream."
        )


async def _check_job(job_id: str, grant: Grant, find: FindJob) -> None:
    if not is_job_id(job_id):
        raise JobNotFound
    if not grant.asks_for_the_job:
        allowed = grant.allows_job(job_id)
    else:
        job = await find(job_id)
        allowed = grant.allows_job(job_id, tags=job.tags, batch=job.batch_id)
    if not allowed:
        raise JobNotFound


def check_time(scope: Scope, grant: Grant, now: float, grace_seconds: float) -> None:
    """Raise `Problem` if the token has expired, unless a stream is being resumed within the grace.

    An EventSource comes back to the same address for ever and closes for good on a 401: a token that ran out
    while a laptop slept would end a stream that it was right to open.
    """
    if now < grant.expires_at:
        return
    if _is_resumed(scope) and now < grant.expires_at + grace_seconds:
        return
    at = rfc3339(datetime.fromtimestamp(grant.expires_at, UTC))
    raise Problem("unauthorized", f"This token expired at {at}. {AGAIN}", headers=INVALID)


INVALID = {"WWW-Authenticate": 'Bearer realm="milepost", error="invalid_token"'}  # RFC 6750 §3


def _is_resumed(scope: Scope) -> bool:
    """Whether a reader of events says where it stood, as each kind of stream says it."""
    query, path = QueryParams(scope["query_string"]), path_of(scope)
    named = query.getlist("job")
    if path.endswith("/status/stream"):
        stood = Headers(scope=scope).get("last-event-id") or query.get("last_event_id", "")
        if path == MANY_JOBS and named and not stood:  # each goes on after its own: JOB@CURSOR
            return all(Cursor.parse(one.partition("@")[2]) is not None for one in named)
    elif path.endswith("/events") and "wait" in query:
        stood = query.get("after", "").partition("~")[0]  # of a `polling.Mark`
    else:
        return False
    return Cursor.parse(stood) is not None  # any other word would begin a stream, with a `gap`


def take_token(scope: Scope) -> str | None:
    """Return the token of the query, and take it out of there: nothing that comes later can tell it to a log."""
    raw = scope["query_string"]
    if b"token=" not in raw:
        return None
    pairs = parse_qsl(raw.decode("latin-1"), keep_blank_values=True)
    given = [value for name, value in pairs if name == "token"]
    if given:
        scope["query_string"] = urlencode([pair for pair in pairs if pair[0] != "token"]).encode()
    return next(filter(None, given), None)
