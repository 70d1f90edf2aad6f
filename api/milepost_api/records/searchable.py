"""The text by which a job is found: what people remember of it, folded so that case does not matter.

Every part stands on a line of its own, and no search holds a line break: nothing is found across two parts.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

SHORTEST = 3
"""Characters. The indexes know which jobs hold which three characters in a row."""
MESSAGE_MOST, ERROR_MOST, METADATA_MOST = 500, 1000, 1000
"""Characters of a part. What is longer is found by its beginning: an index of everything would outgrow the jobs."""


def folded(text: str) -> str:
    """Return text as it is stored and searched for.

    >>> folded("Straße"), folded("ZU\u0308RICH") == folded("zürich")
    ('strasse', True)
    """
    return unicodedata.normalize("NFC", text.casefold())


def searchable(
    *,
    job_id: str,
    task: str,
    batch: str | None,
    tags: Iterable[str],
    metadata: Mapping[str, Any],
    progress: Mapping[str, Any] | None,
    error: Mapping[str, Any] | None,
) -> str:
    """Return the text of a job: a line for its id, task, batch, each tag, its metadata, and what its end says."""
    asked = _lines(job_id, task, batch, *tags, _beginning("\n".join(_leaves(metadata)), METADATA_MOST))
    return asked + searchable_end(progress, error)


def searchable_end(progress: Mapping[str, Any] | None, error: Mapping[str, Any] | None) -> str:
    """Return what the end of a job adds to its text: its last message, and its error."""
    failed = error or {}
    message = _beginning((progress or {}).get("message"), MESSAGE_MOST)
    return _lines(message, failed.get("type"), _beginning(failed.get("message"), ERROR_MOST))


def _lines(*parts: str | None) -> str:
    # PostgreSQL's text holds no NUL, and no database half a surrogate pair; nobody types either.
    whole = "".join(f"{part}\n" for part in parts if part).replace("\0", " ")
    return folded(whole.encode("utf-8", "replace").decode())


def _beginning(text: str | None, most: int) -> str:
    return (text or "")[:most]


def _leaves(value: Any) -> Iterator[str]:
    """Keys and values, each by itself: quotes and brackets are nothing to search for."""
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield str(key)
            yield from _leaves(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _leaves(inner)
    elif isinstance(value, bool):
        yield str(value).lower()
    elif value is not None:
        yield str(value)
