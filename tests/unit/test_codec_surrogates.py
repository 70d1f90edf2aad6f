"""JSON for strict readers."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from milepost.codec import dumps

anything = st.text(alphabet=st.one_of(st.characters(codec="utf-8"), st.sampled_from("\ud83d\ude00\udcff\\u")))


@given(st.dictionaries(anything, st.lists(anything)))
def test_no_half_surrogate_pair_leaves(value: dict[str, list[str]]) -> None:
    """Python and JavaScript read one, strict parsers refuse the whole event: what leaves can be encoded."""
    json.dumps(json.loads(dumps(value)), ensure_ascii=False).encode("utf-8")


@given(st.text(alphabet=st.characters(codec="utf-8")))
def test_whole_text_stays_as_it_is(value: str) -> None:
    """Characters beyond the first plane are written as pairs, and are not halves."""
    assert json.loads(dumps(value)) == value


def test_a_half_becomes_a_replacement_character() -> None:
    """As in a file name that is no UTF-8."""
    assert dumps("a\udcffb") == '"a\\ufffdb"'
    assert dumps(r"C:\ud800") == r'"C:\\ud800"'
