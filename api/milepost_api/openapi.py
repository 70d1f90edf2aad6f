"""What OpenAPI cannot see by itself: problem documents, API keys."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from milepost_api.auth import OPEN_PATHS
from milepost_api.tokens.doors import opens


def _version() -> str:
    try:
        return version("milepost")
    except PackageNotFoundError:  # run from a checkout that is not installed
        return "0"


VERSION = _version()

_TEXT = {"type": "string"}
PROBLEM_SCHEMA: dict[str, Any] = {
    "title": "Problem",
    "description": "RFC 9457. Switch on `type`; show `detail` to people.",
    "type": "object",
    "required": ["type", "title", "status", "detail"],
    "properties": {
        "type": {**_TEXT, "format": "uri", "description": "Stable: `urn:milepost:problem:NAME`."},
        "title": _TEXT,
        "status": {"type": "integer"},
        "detail": {**_TEXT, "description": "What is wrong here, and what to do."},
        "errors": {
            "type": "array",
            "description": "Every error of an invalid request, with its place.",
            "items": {
                "type": "object",
                "required": ["in", "path", "detail"],
                "properties": {
                    "in": {"type": "string", "enum": ["body", "query", "path", "header"]},
                    "path": {**_TEXT, "description": "In a body a JSON path such as `$.params.url`."},
                    "detail": _TEXT,
                },
            },
        },
    },
    "additionalProperties": True,
}
_SCHEMES = {
    "bearer": {"type": "http", "scheme": "bearer"},
    "apiKey": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
}
_TOKEN = {
    "streamToken": {
        "type": "apiKey",
        "in": "query",
        "name": "token",
        "description": "Made by POST /v1/stream-tokens. May be sent as a bearer, too.",
    }
}


def install(app: FastAPI, *, keys: bool) -> None:
    """Complete the OpenAPI document of `app`; `keys` says whether it asks for any."""
    generated: dict[str, Any] | None = None

    def document() -> dict[str, Any]:
        nonlocal generated
        if generated is None:
            generated = _document(app, keys=keys)
        return generated

    app.openapi = document  # type: ignore[method-assign]


def _document(app: FastAPI, *, keys: bool) -> dict[str, Any]:
    document = get_openapi(title=app.title, summary=app.summary, version=app.version, routes=app.routes)
    components = document.setdefault("components", {})
    schemas = components.setdefault("schemas", {})
    schemas["Problem"] = PROBLEM_SCHEMA
    _remove_foreign_422(document)
    if keys:
        components["securitySchemes"] = _SCHEMES | _TOKEN
        for path, operations in document["paths"].items():
            if path not in OPEN_PATHS:
                for method, operation in operations.items():
                    schemes = [*_SCHEMES, *(_TOKEN if opens(method.upper(), path) else ())]
                    operation["security"] = [{name: []} for name in schemes]
    return document


def _remove_foreign_422(document: dict[str, Any]) -> None:
    """FastAPI writes its own 422 for every parameter; a job id that cannot be one is a 404 here."""
    for operations in document["paths"].values():
        for operation in operations.values():
            if "HTTPValidationError" in str(operation["responses"].get("422")):
                del operation["responses"]["422"]
    for unused in ("HTTPValidationError", "ValidationError"):
        document["components"]["schemas"].pop(unused, None)
