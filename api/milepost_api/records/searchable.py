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
MARKED = frozenset({"failed", "cancelled", "expired"})
"""Statuses that leave a mark in the text of their jobs: these few can be told from the many that succeeded. They come
with an error, so that the text is written anew anyway."""


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
    queue: str,
    status: str,
    batch: str | None,
    tags: Iterable[str],
    metadata: Mapping[str, Any],
    progress: Mapping[str, Any] | None,
    error: Mapping[str, Any] | None,
) -> str:
    """Return the text of a job: a line for its id, task, queue, batch, each tag, its metadata; and that of its end."""
    found = _lines(job_id, task, queue, batch, *tags, _beginning("\n".join(_leaves(metadata)), METADATA_MOST))
    return found + searchable_end(status, progress, error)


def searchable_end(status: str, progress: Mapping[str, Any] | None, error: Mapping[str, Any] | None) -> str:
    """Return what the end of a job adds to its text: its last message, its error, and the mark of its status."""
    failed = error or {}
    message = _beginning((progress or {}).get("message"), MESSAGE_MOST)
    said = _lines(message, failed.get("type"), _beginning(failed.get("message"), ERROR_MOST))
    return said + (mark(status) if status in MARKED else "")


def mark(status: str) -> str:
    """Return the three characters that stand for a status. Nobody searches for a control character."""
    return f"\x02{status[:2]}"


def trigrams(text: str) -> list[str]:
    """Return every three characters in a row.

    >>> trigrams("abcd"), trigrams("ab")
    (['abc', 'bcd'], [])
    """
    return [text[place : place + SHORTEST] for place in range(len(text) - SHORTEST + 1)]


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
