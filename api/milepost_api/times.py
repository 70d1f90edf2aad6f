"""Times as the wire has them: RFC 3339, UTC, milliseconds."""

from __future__ import annotations

from datetime import UTC, datetime


def utc_now() -> datetime:
    """Return the time of this moment, with its zone."""
    return datetime.now(UTC)


def rfc3339(moment: datetime) -> str:
    """Return the text of a moment.

    >>> rfc3339(datetime(2026, 1, 2, 3, 4, 5, 678900, UTC))
    '2026-01-02T03:04:05.678Z'
    """
    text = moment.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="milliseconds")
    return text + "Z"


def from_rfc3339(text: str) -> datetime:
    """Return the moment of a text that Milepost wrote."""
    return datetime.fromisoformat(text).astimezone(UTC)
