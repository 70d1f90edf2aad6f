"""The order of lists: a whole number for each job, the microsecond in which it was accepted, no two alike.

Ids cannot serve: clients may choose them. One number instead of (created_at, id) is one column in every index, and the
cursor of a page.
"""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_MOST = 2**63


def sort_key(moment: datetime) -> int:
    """Return microseconds since 1970: the key of a job accepted then, unless another one has it.

    >>> sort_key(datetime(1970, 1, 1, 0, 0, 1, 5, tzinfo=UTC))
    1000005
    """
    if moment.tzinfo is None:
        raise ValueError(f"{moment!r} has no time zone; records hold moments in UTC.")
    return (moment - _EPOCH) // _MICROSECOND


def another_key(moment: datetime, attempt: int) -> int:
    """Return a key to try when that of the moment is taken: close to it, farther with every attempt (from 1)."""
    return sort_key(moment) + random.randrange(1, 2 ** (attempt + 2))


def cursor_of(key: int) -> str:
    """Return a key as the cursor of a page.

    >>> cursor_of(1_790_000_000_000_000)
    '65bfeda25e000'
    """
    return f"{key:x}"


def key_of(cursor: str) -> int | None:
    """Return the key in a cursor that `cursor_of` made, None if it made no such thing.

    >>> key_of(cursor_of(17)), key_of("0"), key_of("019c-7f"), key_of("f" * 16)
    (17, None, None, None)
    """
    try:
        key = int(cursor, 16)
    except ValueError:
        return None
    return key if 0 < key < _MOST and cursor_of(key) == cursor else None
