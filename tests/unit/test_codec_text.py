"""JSON as Milepost writes it."""

from __future__ import annotations

import json
import math

import pytest
from hypothesis import given

from milepost.codec import dumps
from milepost.errors import BadReport
from tests.support.strategies import json_values


@given(json_values)
def test_a_value_is_one_line_of_ascii_that_reads_back(value: object) -> None:
    """No reader that splits lines its own way can break it."""
    line = dumps(value)
    assert line.isascii()
    assert line.isprintable()
    assert json.loads(line) == value


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, {"percent": math.nan}, [[math.inf]]])
def test_numbers_that_json_cannot_say_are_refused_with_a_sentence(value: object) -> None:
    """A browser refuses `NaN`; the sender hears of it, not the reader."""
    with pytest.raises(BadReport, match=r"cannot be sent as JSON.*finite values\."):
        dumps(value)


def a_cycle() -> list[object]:
    cycle: list[object] = []
    cycle.append(cycle)
    return cycle


def a_well() -> list[object]:
    well: list[object] = []
    for _ in range(100_000):
        well = [well]
    return well


@pytest.mark.parametrize(
    "value", [{1}, object(), b"bytes", a_cycle(), a_well()], ids=lambda v: type(v).__name__
)
def test_what_is_no_json_is_refused_with_a_sentence(value: object) -> None:
    """Sets, objects, bytes, cycles and bottomless nesting: never a traceback of the encoder."""
    with pytest.raises(BadReport, match=r"^This value cannot be sent as JSON: .+\."):
        dumps(value)
