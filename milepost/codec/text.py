"""JSON as Milepost writes it: one line, ASCII only, finite numbers."""

from __future__ import annotations

import json
from typing import Any

from milepost.errors import BadReport

# ensure_ascii: U+2028, U+0085 and friends split lines in naive readers (`str.splitlines`), and NUL ends
# strings in others; escaped, they arrive everywhere. allow_nan: `NaN` is not JSON, browsers refuse it.
_ENCODER = json.JSONEncoder(ensure_ascii=True, allow_nan=False, separators=(",", ":"))


def dumps(value: Any) -> str:
    """Return `value` as one line of ASCII JSON.

    Half a surrogate pair (a file name that is no UTF-8, say) becomes U+FFFD: strict readers refuse the whole event.
    Raises `BadReport` when it holds something JSON cannot say: NaN, an infinity, a set, an object, a cycle.
    """
    try:
        text = _ENCODER.encode(value)
        return _without_lone_surrogates(text) if "\\ud" in text else text
    except (TypeError, ValueError, RecursionError) as error:
        raise BadReport(
            f"This value cannot be sent as JSON: {error}. Report plain, finite values."
        ) from error


def _without_lone_surrogates(text: str) -> str:
    raw = json.dumps(json.loads(text), ensure_ascii=False, separators=(",", ":"))
    whole = raw.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return text if whole == raw else _ENCODER.encode(json.loads(whole))
