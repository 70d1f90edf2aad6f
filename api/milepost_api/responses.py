"""JSON responses: ASCII only, so that no text a client sent can break the encoding of an answer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from starlette.responses import Response

from milepost.codec import dumps


def dumps_bytes(value: Any) -> bytes:
    """Return `value` as one line of JSON."""
    return dumps(value).encode("ascii")


class JsonResponse(Response):
    """One JSON value. It is of this moment: caches ask again."""

    media_type = "application/json"

    def __init__(
        self, content: Any, status_code: int = 200, headers: Mapping[str, str] | None = None
    ) -> None:
        sent = {"Cache-Control": "private, no-cache", **(headers or {})}
        super().__init__(dumps_bytes(content), status_code=status_code, headers=sent)
