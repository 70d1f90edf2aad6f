"""Times as they go over the wire: RFC 3339, UTC, milliseconds."""

from __future__ import annotations

from datetime import UTC, datetime


def rfc3339(moment: datetime) -> str:
    """Return an aware datetime as text, to the millisecond.

    >>> rfc3339(datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC))
    '2026-01-02T03:04:05.678Z'
    """
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def now() -> str:
    """Return the present moment as text, by this host's clock."""
    return rfc3339(datetime.now(UTC))


def utc_now() -> datetime:
    """Return the present moment, by this host's clock."""
    return datetime.now(UTC)


def parse(text: str) -> datetime:
    """Return the moment of a text that `rfc3339` (or the job log) wrote."""
    return datetime.fromisoformat(text).astimezone(UTC)
