"""Problem types (RFC 9457): stable names for what an API client can be told went wrong.

`type` is part of the contract: clients may switch on it, so a name is never given a second meaning.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

TYPE_PREFIX = "urn:milepost:problem:"
"""A URN, so that the type stays the same wherever Milepost is served."""


@dataclass(frozen=True, slots=True)
class ProblemType:
    """One kind of problem: its name in `type`, the HTTP status it comes with, its short title."""

    name: str
    status: int
    title: str

    @property
    def uri(self) -> str:
        return TYPE_PREFIX + self.name


PROBLEM_TYPES: Mapping[str, ProblemType] = {
    kind.name: kind
    for kind in (
        ProblemType("bad-request", 400, "The request cannot be understood"),
        ProblemType("unauthorized", 401, "An API key or a stream token is needed"),
        ProblemType("forbidden", 403, "This is not allowed"),
        ProblemType("not-found", 404, "There is nothing at this address"),
        ProblemType("job-not-found", 404, "There is no such job"),
        ProblemType("method-not-allowed", 405, "This address does not take this method"),
        ProblemType("not-acceptable", 406, "None of the accepted media types can be served"),
        ProblemType("not-ready", 409, "The job has not finished yet"),
        ProblemType("no-result", 409, "The job ended without a result"),
        ProblemType("id-taken", 409, "Another job has this id"),
        ProblemType("conflict", 409, "The request conflicts with the state of the job"),
        ProblemType("expired", 410, "The job or its result is no longer kept"),
        ProblemType("too-large", 413, "The request body is too large"),
        ProblemType("unsupported-media-type", 415, "The request body is not JSON"),
        ProblemType("invalid-request", 422, "The request is not valid"),
        ProblemType("unknown-task", 422, "No worker offers this task"),
        ProblemType("invalid-params", 422, "The params do not fit the task"),
        ProblemType("idempotency-mismatch", 422, "This idempotency key was used with another body"),
        ProblemType("too-many-requests", 429, "A limit was reached"),
        ProblemType("internal", 500, "Something went wrong on the server"),
        ProblemType("unavailable", 503, "A part of the service cannot be reached"),
    )
}


def problem(name: str, detail: str, *, instance: str | None = None, **extra: Any) -> dict[str, Any]:
    """Return the problem document of that type; `detail` says what is wrong here and what to do."""
    kind = PROBLEM_TYPES[name]
    document: dict[str, Any] = {
        "type": kind.uri,
        "title": kind.title,
        "status": kind.status,
        "detail": detail,
    }
    if instance is not None:
        document["instance"] = instance
    return document | extra
