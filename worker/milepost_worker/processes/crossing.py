"""An exception on its way from the task's process to the worker, as whole as it can be."""

from __future__ import annotations

import base64
import json
import pickle
from typing import Any

from milepost.codec import dumps
from milepost.errors import BrokenRelay
from milepost.foreign import Foreign, RemoteTraceback
from milepost.outcome import Raised, message_of, traceback_of
from milepost.tasks import Retry

PICKLE_BYTES = 1 << 20
"""A larger exception travels as text: it carries the task's data, which nobody asks an exception for."""


def pack(error: BaseException) -> bytes:
    """Return all that can be said of `error`."""
    kind = type(error)
    after = error.after if isinstance(error, Retry) else None
    return dumps(
        {
            "name": kind.__qualname__,
            "lineage": [[base.__module__, base.__qualname__] for base in kind.__mro__],
            "message": message_of(error),
            "traceback": traceback_of(error),
            "retry": isinstance(error, Retry),
            "after": after,
            "pickle": _pickled(error),
        }
    ).encode()


def unpack(payload: bytes) -> Raised:
    """Return the exception as it was, or what stands for it. Raises `BrokenRelay` when the payload is none.

    It is unpickled, which runs code: the code of the task's author, who runs code in this worker anyway.
    """
    try:
        told = json.loads(payload)
        lineage = [(str(module), str(name)) for module, name in told["lineage"]]
        text = str(told["traceback"])
    except (ValueError, KeyError, TypeError) as error:
        raise BrokenRelay(f"What the task's process said of its exception cannot be read: {error}") from error
    found = _unpickled(told.get("pickle"))
    if found is None or [_named(type(found))] != lineage[:1]:
        found = _stand_in(told, lineage)
    found.__cause__ = RemoteTraceback(text)
    return Raised(found, text)


def _stand_in(told: dict[str, Any], lineage: list[tuple[str, str]]) -> BaseException:
    if told.get("retry"):
        return Retry(str(told["message"]), after=told.get("after"))
    return Foreign(str(told["name"]), str(told["message"]), lineage)


def _pickled(error: BaseException) -> str | None:
    try:
        raw = pickle.dumps(error)
    except Exception:  # noqa: BLE001 - whatever its __reduce__ raises: then it travels as text
        return None
    return base64.b64encode(raw).decode() if len(raw) <= PICKLE_BYTES else None


def _unpickled(encoded: str | None) -> BaseException | None:
    if not encoded:
        return None
    try:
        found = pickle.loads(base64.b64decode(encoded))  # noqa: S301 - see `unpack`
    except BaseException:  # noqa: BLE001 - an __init__ that wants other arguments, a class that is not there, an exit
        return None
    return found if isinstance(found, BaseException) else None


def _named(kind: type[BaseException]) -> tuple[str, str]:
    return kind.__module__, kind.__qualname__
