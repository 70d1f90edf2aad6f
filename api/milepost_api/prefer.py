"""`Prefer: wait=N` (RFC 7240 §4.3)."""

from __future__ import annotations

from collections.abc import Iterable


def wait_seconds(headers: Iterable[str], most: float) -> float | None:
    """Return how long the client would wait for the outcome; None if it did not say, or not understandably.

    A preference that cannot be honoured is ignored (RFC 7240 §2), never an error.

    >>> wait_seconds(["respond-async, wait=5; foo"], 60)
    5.0
    """
    for preference in (one for header in headers for one in header.split(",")):
        name, _, value = preference.partition(";")[0].partition("=")
        number = value.strip().strip('"')
        if name.strip().lower() == "wait" and number.isdecimal() and number.isascii():
            return min(float(number[:9]), most)
    return None
