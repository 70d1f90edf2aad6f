"""Every error as `application/problem+json`; the one place where errors learn about HTTP."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import OutOfMemoryError, ReadOnlyError, ResponseError
from redis.exceptions import TimeoutError as RedisTimeoutError
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.routing import compile_path

from milepost import errors
from milepost.errors import MilepostError
from milepost.problems import PROBLEM_TYPES, problem
from milepost.redis import is_transient
from milepost_api.responses import dumps_bytes

MEDIA_TYPE = "application/problem+json"
RETRY_AFTER_SECONDS = 2

PROBLEM_OF: Mapping[type[Exception], str] = {
    errors.JobNotFound: "job-not-found",
    errors.UnknownTask: "unknown-task",
    errors.BadReport: "invalid-request",
    errors.CursorLost: "expired",
    errors.StoreUnavailable: "unavailable",
}
_AWAY = (RedisConnectionError, RedisTimeoutError, OutOfMemoryError, ReadOnlyError)


class Problem(MilepostError):
    """An answer other than the one asked for, with everything its reader needs to act on it."""

    def __init__(
        self, name: str, detail: str, *, headers: Mapping[str, str] | None = None, **extra: Any
    ) -> None:
        super().__init__(detail)
        self.name, self.headers, self.extra = name, dict(headers or {}), extra

    @property
    def uri(self) -> str:
        """Return its `type`."""
        return PROBLEM_TYPES[self.name].uri


class ProblemResponse(Response):
    """One problem document."""

    media_type = MEDIA_TYPE

    def __init__(
        self, name: str, detail: str, *, headers: Mapping[str, str] | None = None, **extra: Any
    ) -> None:
        sent = {"Cache-Control": "no-store", **(headers or {})}
        if name == "unavailable":
            sent.setdefault("Retry-After", str(RETRY_AFTER_SECONDS))
        if name == "unauthorized":
            sent.setdefault("WWW-Authenticate", 'Bearer realm="milepost"')
        document = problem(name, detail, **extra)
        super().__init__(dumps_bytes(document), status_code=document["status"], headers=sent)


def install(app: FastAPI) -> None:
    """Give every error of `app` its problem."""
    app.add_exception_handler(Problem, _ours)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _http)
    for kind in PROBLEM_OF:
        app.add_exception_handler(kind, _ours)
    for kind in (*_AWAY, ResponseError):
        app.add_exception_handler(kind, _redis)


def describe(*names: str) -> dict[int | str, dict[str, Any]]:
    """Return what OpenAPI says of these problems, for `responses=`."""
    found: dict[int | str, dict[str, Any]] = {}
    for name in names:
        kind = PROBLEM_TYPES[name]
        text = f"{kind.title} (`{kind.uri}`)."
        if kind.status in found:
            text = f"{found[kind.status]['description']} {text}"
        found[kind.status] = {
            "description": text,
            "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}},
        }
    return found


def answer_to(error: MilepostError) -> ProblemResponse:
    """Return the answer to an error of ours. Raises what is none: that is a bug of the server."""
    if isinstance(error, Problem):
        return ProblemResponse(error.name, str(error), headers=error.headers, **error.extra)
    for kind, name in PROBLEM_OF.items():
        if isinstance(error, kind):
            return ProblemResponse(name, str(error))
    raise error


def answer_to_any(error: Exception) -> ProblemResponse:
    """Return the answer to whatever a route may raise, as `install` has it. Raises what is a bug of the server."""
    if isinstance(error, MilepostError):
        return answer_to(error)
    if isinstance(error, _AWAY) or (isinstance(error, ResponseError) and is_transient(error)):
        return ProblemResponse("unavailable", "Redis cannot be reached at the moment; try again shortly.")
    raise error


async def _ours(request: Request, error: Exception) -> Response:
    assert isinstance(error, MilepostError)
    return answer_to(error)


async def _redis(request: Request, error: Exception) -> Response:
    return answer_to_any(error)  # away, cut off from its replicas, not able to write to its disk


_OF_STATUS = {
    400: "bad-request",
    404: "not-found",
    405: "method-not-allowed",
    406: "not-acceptable",
    413: "too-large",
    415: "unsupported-media-type",
}


async def _http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    name = _OF_STATUS.get(error.status_code, "internal" if error.status_code >= 500 else "bad-request")
    headers = dict(error.headers or {})
    if error.status_code == 405:
        headers["Allow"] = ", ".join(_allowed(request))
    return ProblemResponse(name, _detail(request, error), headers=headers)


def _allowed(request: Request) -> list[str]:
    """Every method of this address (RFC 9110 §10.2.1); the router names those of its first route only."""
    paths = request.app.openapi()["paths"]
    served = [path for path in paths if compile_path(path)[0].match(request.url.path)]
    return sorted({method.upper() for path in served for method in paths[path]})


UNREADABLE = "There was an error parsing the body"
"""FastAPI's words for whatever `json.loads` raises besides a syntax error."""


def _detail(request: Request, error: HTTPException) -> str:
    if error.detail == UNREADABLE:
        return "The body cannot be read as JSON: it is no UTF-8 text, or nests too deeply."
    if error.detail != HTTPStatus(error.status_code).phrase:
        return str(error.detail)
    path = request.url.path[:200]
    if error.status_code == 404:
        return f"Nothing is served at {path}. /docs lists every address."
    if error.status_code == 405:
        return f"{path} does not take {request.method}. It takes {' or '.join(_allowed(request))}."
    return f"{error.detail}."


async def _invalid(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    found = error.errors()
    if _body_is_not_json(request, found):
        return ProblemResponse(
            "unsupported-media-type",
            "Send the body as JSON, with the header Content-Type: application/json.",
        )
    for one in found:
        if one["type"] == "json_invalid":
            return ProblemResponse("bad-request", f"The body is not JSON: {_why(one)}.")
    listed = [
        {"in": str(one["loc"][0]), "path": _path(one["loc"]), "detail": _sentence(one)} for one in found
    ]
    return ProblemResponse("invalid-request", _summary(listed), errors=listed)


def _body_is_not_json(request: Request, found: Iterable[Mapping[str, Any]]) -> bool:
    if not any(tuple(one["loc"]) == ("body",) and one["type"] != "json_invalid" for one in found):
        return False
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    has_body = request.headers.get("content-length", "0") != "0" or "transfer-encoding" in request.headers
    return has_body and kind != "application/json" and not kind.endswith("+json")


def _why(one: Mapping[str, Any]) -> str:
    reason = str(one.get("ctx", {}).get("error", "it cannot be parsed"))
    return f"{reason[:1].lower()}{reason[1:]} at character {one['loc'][-1]}"


def _path(loc: Sequence[str | int]) -> str:
    place, *rest = loc
    steps = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in rest)
    return f"${steps}" if place == "body" else steps.removeprefix(".")


def _sentence(one: Mapping[str, Any]) -> str:
    if one["type"] == "extra_forbidden":
        return "This field is not known."
    return str(one["msg"]).removeprefix("Value error, ").rstrip(".") + "."


def _summary(listed: Sequence[Mapping[str, str]]) -> str:
    first = f"{listed[0]['path']}: {listed[0]['detail']}"
    return first if len(listed) == 1 else f"{first} And {len(listed) - 1} more, see `errors`."
