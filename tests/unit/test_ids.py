"""Ids of jobs and epochs."""

from __future__ import annotations

import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from milepost.ids import is_job_id, new_epoch, new_job_id


@given(st.integers(0, 2**48 - 1), st.integers(0, 2**12 - 1), st.integers(0, 2**62 - 1))
def test_a_job_id_is_a_uuid_version_7(now_ms: int, first: int, second: int) -> None:
    """RFC 9562 §5.7: 48 bits of time, the version, the variant, the rest by chance."""
    chance = {12: first, 62: second}
    made = uuid.UUID(new_job_id(lambda: now_ms, lambda bits: chance[bits]))
    assert (made.version, made.variant) == (7, uuid.RFC_4122)
    assert made.int >> 80 == now_ms
    assert (made.int >> 64 & 0xFFF, made.int & (2**62 - 1)) == (first, second)


@given(st.integers(0, 2**48 - 2), st.integers(1, 1000))
def test_job_ids_sort_by_time(now_ms: int, later: int) -> None:
    """As text, so a database index on them is one by creation."""
    assert new_job_id(lambda: now_ms) < new_job_id(lambda: min(now_ms + later, 2**48 - 1))


def test_ids_are_not_repeated() -> None:
    """By chance: 74 bits for a job, 41 for an epoch."""
    assert len({new_job_id() for _ in range(1000)}) == 1000
    assert len({new_epoch() for _ in range(1000)}) == 1000


def test_a_new_job_id_can_name_a_job() -> None:
    """What is made is accepted."""
    assert is_job_id(new_job_id())


@pytest.mark.parametrize("text", ["", "a/b", "a b", "a\n", "ä", "../x", "{x}", "a" * 65, "a:b", "a.b"])
def test_text_that_would_not_be_one_path_segment_names_no_job(text: str) -> None:
    """Braces would move the hash tag of the keys, a dot would split the name of a delivery."""
    assert not is_job_id(text)
