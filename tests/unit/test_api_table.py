"""Records made without SQLModel's constructor."""

from __future__ import annotations

from typing import Any

from milepost_api.records import JobRecord, fresh_record
from milepost_api.records.table import rows_of

from milepost.times import utc_now


def test_a_fresh_record_is_what_the_constructor_would_have_made() -> None:
    """Every default is there, and no two records share a list."""
    given: dict[str, Any] = {"id": "a", "task": "t", "params": "{}", "created_at": utc_now(), "priority": 3}
    one, other = fresh_record(**given), fresh_record(**given)
    other.tenant = "acme"
    assert (one.tenant, other.tenant) == ("default", "acme")
    made = JobRecord(**given)
    assert rows_of(one) == rows_of(made)
    assert one.model_dump() == made.model_dump()
    assert one.tags is not other.tags
    assert one.meta is not other.meta
