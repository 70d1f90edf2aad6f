"""What can go wrong between a client and a server; `transient`: the same call may succeed later."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from milepost.errors import JobNotFound, MilepostError

TRANSIENT_STATUSES = frozenset({408, 425, 429})
"""Request Timeout, Too Early, Too Many Requests. So is every 5xx: the server or its proxy is unwell."""


class ClientError(MilepostError):
    """A call to a Milepost server failed."""

    transient = False
    retry_after_seconds: float | None = None


class Unreachable(ClientError):
    """The Milepost server cannot be reached."""

    transient = True


class BadAnswer(ClientError):
    """The server sent something that Milepost does not."""


class Refused(ClientError):
    """The server answered with a problem (RFC 9457); the message is its `detail`.

    `status` is the HTTP status, `type` the name of the problem (`milepost.problems`), "" if it gave none,
    `problem` the whole document.
    """

    def __init__(
        self,
        message: str,
        *,
        status: int,
        problem: Mapping[str, Any] | None = None,
        retry_after_seconds: float | None = None,
    ) -> None:
        super().__init__(message)
        self.status, self.problem = status, dict(problem or {})
        self.type = str(self.problem.get("type", ""))
        self.transient = status in TRANSIENT_STATUSES or status >= 500
        self.retry_after_seconds = retry_after_seconds


class Unauthorized(Refused):
    """An API key is missing, wrong, or not allowed to do this (401, 403)."""


class NotFound(Refused, JobNotFound):
    """There is no such job, or nothing at this address (404)."""


class Conflict(Refused):
    """The job is not in a state for this: not ready, or without a result (409)."""


class Gone(Refused):
    """The job, its history or its result is no longer kept (410)."""


class Invalid(Refused):
    """The request is well-formed and wrong: unknown task, params that do not fit (422)."""


_CLASS_OF: Mapping[int, type[Refused]] = {
    401: Unauthorized,
    403: Unauthorized,
    404: NotFound,
    409: Conflict,
    410: Gone,
    422: Invalid,
}


def refusal(status: int, headers: Mapping[str, str], body: bytes) -> Refused:
    """Return the exception for an answer that is not a success. `headers` is read without regard to case."""
    problem = _problem(body)
    detail = problem.get("detail") or problem.get("title")
    if not isinstance(detail, str):
        # A proxy, or a server that is not Milepost: its page would not help, its status may.
        detail = f"The server answered with HTTP status {status} and no explanation. Is the address right?"
    return _CLASS_OF.get(status, Refused)(
        detail,
        status=status,
        problem=problem,
        retry_after_seconds=retry_after_seconds(headers.get("retry-after", "")),
    )


def retry_after_seconds(text: str) -> float | None:
    """Read a Retry-After header; its form as a date is not read, as Milepost and its proxies send seconds.

    >>> retry_after_seconds("2"), retry_after_seconds("Fri, 31 Dec 1999 23:59:59 GMT")
    (2.0, None)
    """
    text = text.strip()
    return float(text) if text.isascii() and text.isdigit() and len(text) < 10 else None


def _problem(body: bytes) -> dict[str, Any]:
    try:
        document = json.loads(body)
    except ValueError:
        return {}
    return document if isinstance(document, dict) else {}
