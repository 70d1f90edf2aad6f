"""Cursors: whatever a client sends is one, or is none."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from milepost.codec import Cursor
from milepost.ids import new_epoch

GRAMMAR = r"[0-9a-z]{1,32}-[0-9]{1,15}"


@given(st.from_regex(GRAMMAR, fullmatch=True).filter(str.isascii))
def test_what_fits_the_grammar_is_a_cursor(text: str) -> None:
    """And names the same place when it is written again."""
    cursor = Cursor.parse(text)
    assert cursor is not None
    assert Cursor.parse(str(cursor)) == cursor


@given(st.one_of(st.text(), st.text("0123456789abcxyz-", max_size=70), st.from_regex(GRAMMAR)))
def test_nothing_a_client_sends_raises(text: str) -> None:
    """Only the grammar is accepted, without a newline at its end."""
    accepted = Cursor.parse(text) is not None
    assert accepted == bool(re.fullmatch(GRAMMAR, text, re.ASCII))


HOSTILE = ["", "-", "a-", "-1", "a", "a--1", "a-1\n", "A-1", "a-1.5", "a-٣", "a:1", "ä-1", " a-1", "\0"]
ENDLESS = ["a-" + "1" * 16, "x" * 1_000_000, "a-" + "9" * 1_000_000]


@pytest.mark.parametrize("text", [*HOSTILE, *ENDLESS], ids=lambda text: text[:12])
def test_hostile_text_is_no_cursor(text: str) -> None:
    """A megabyte is looked at for no longer than a byte."""
    assert Cursor.parse(text) is None


def test_a_cursor_is_safe_in_a_header() -> None:
    """At most 64 bytes of [0-9a-z-]: no CORS preflight on a reconnect (Fetch, safelisted headers)."""
    text = str(Cursor(new_epoch(), 10**15 - 1))
    assert len(text) <= 64
    assert re.fullmatch(r"[0-9a-z-]+", text)
