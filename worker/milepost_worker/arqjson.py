"""arq's job payloads as JSON: pickle would make whoever can write to Redis run code in every worker."""

from __future__ import annotations

import json
from typing import Any


def dump(payload: dict[str, Any]) -> bytes:
    """Serialise what arq wants to keep; results are not kept, so an exception's text is enough."""
    return json.dumps(payload, default=str).encode()


def load(raw: bytes) -> dict[str, Any]:
    return dict(json.loads(raw))
