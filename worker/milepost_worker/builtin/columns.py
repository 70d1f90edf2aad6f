"""What a column of text cells holds: pure rules and running totals of bounded size.

A cell, without the blanks around it, is of the first kind that fits:

- null: nothing, `null`, `none`, `na` or `n/a`, in any case;
- integer: digits with an optional sign; with a leading zero (`007`, a postal code) it is text, so that nobody
  computes with it;
- number: a decimal, with or without an exponent; `nan`, `inf` and `infinity` and what no double can hold are
  numbers that are counted as `non_finite` and have no part in min and max;
- boolean: `true`, `false`, `yes` or `no`, in any case;
- date: `2026-01-31`; datetime: `2026-01-31T12:00` or with a blank, seconds, fractions, an offset (ISO 8601);
- text: everything else.

A column has the kind of all its cells that are not null. Integers among numbers are numbers, dates among
datetimes are datetimes; any other mixture is `mixed`, and a column of nulls is `empty`.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

Kind = Literal["integer", "number", "boolean", "date", "datetime", "text", "mixed", "empty"]

DISTINCT_COUNTED = 1000
SHOWN_CHARACTERS = 100
SAFE_INTEGER = 2**53 - 1
"""The largest that every JSON reader keeps exact (RFC 8259 §6)."""

_NULLS = frozenset({"", "null", "none", "na", "n/a"})
_BOOLEANS = frozenset({"true", "false", "yes", "no"})
_NON_FINITE = frozenset({"nan", "inf", "infinity"})
_INTEGER = re.compile(r"[+-]?(?:0|[1-9][0-9]{0,307})", re.ASCII)
_NUMBER = re.compile(r"[+-]?(?:(?:0|[1-9][0-9]*)(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?", re.ASCII)
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", re.ASCII)
_DATETIME = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9]{2}:[0-9]{2}(?::[0-9]{2}(?:\.[0-9]{1,9})?)?(?:Z|[+-][0-9]{2}:?[0-9]{2})?",
    re.ASCII,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ColumnProfile:
    """One column.

    `kinds` counts its cells by kind, nulls apart. `min` and `max` are numbers in a column of numbers (text when
    they are too long for a JSON number), the cells as written in one of dates, and else the first and the last
    text by code points, of which 100 characters count. `distinct` is the number of different values, or null
    when there are more than 1,000.
    """

    name: str
    type: Kind
    nulls: int
    kinds: Mapping[str, int]
    min: int | float | str | None
    max: int | float | str | None
    distinct: int | None
    non_finite: int


def classify(cell: str) -> tuple[str, Any]:
    """Return the kind of a cell that has no blanks around it, and the value it compares by.

    >>> classify("-1.50")
    ('number', -1.5)
    >>> classify("007")
    ('text', None)
    """
    lower = cell.lower() if len(cell) <= 9 else ""
    if not cell or (lower in _NULLS and lower):
        return "null", None
    if cell[0] in "+-.0123456789":
        return _numeric(cell, lower)
    if lower in _BOOLEANS:
        return "boolean", None
    return ("number", math.nan) if lower in _NON_FINITE else ("text", None)


def _numeric(cell: str, lower: str) -> tuple[str, Any]:
    if _INTEGER.fullmatch(cell):
        return "integer", int(cell)
    if _NUMBER.fullmatch(cell):
        return "number", float(cell)
    if lower[1:] in _NON_FINITE:
        return "number", math.nan
    kind = "date" if _DATE.fullmatch(cell) else "datetime" if _DATETIME.fullmatch(cell) else "text"
    if kind != "text":
        try:
            moment = datetime.fromisoformat(cell)
        except ValueError:
            return "text", None  # 2026-02-30
        return kind, moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return "text", None


class _Range:
    """The least and the greatest by `key`, each with what to show for it."""

    __slots__ = ("greatest", "least")

    def __init__(self) -> None:
        self.least: tuple[Any, Any] | None = None
        self.greatest: tuple[Any, Any] | None = None

    def add(self, key: Any, shown: Any) -> None:
        if self.least is None or key < self.least[0]:
            self.least = (key, shown)
        if self.greatest is None or key > self.greatest[0]:
            self.greatest = (key, shown)


class Column:
    """The running totals of one column."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.kinds: Counter[str] = Counter()
        self._nulls = self._non_finite = 0
        self._numbers, self._moments, self._texts = _Range(), _Range(), _Range()
        self._seen: set[int] | None = set()

    def add(self, cell: str) -> None:
        """Take one cell into account."""
        cell = cell.strip()
        kind, value = classify(cell)
        if kind == "null":
            self._nulls += 1
            return
        self.kinds[kind] += 1
        text = cell[:SHOWN_CHARACTERS]
        self._texts.add(text, text)
        if kind in ("integer", "number"):
            if math.isfinite(value):
                self._numbers.add(value, value)
            else:
                self._non_finite += 1
        elif value is not None:
            self._moments.add(value, text)
        self._count(cell)

    def profile(self) -> ColumnProfile:
        """Return what has been seen so far."""
        kind = self._kind()
        if kind in ("integer", "number"):
            extremes = self._numbers
        else:
            extremes = self._moments if kind in ("date", "datetime") else self._texts
        return ColumnProfile(
            name=self.name,
            type=kind,
            nulls=self._nulls,
            kinds=dict(sorted(self.kinds.items())),
            min=_json(extremes.least),
            max=_json(extremes.greatest),
            distinct=None if self._seen is None else len(self._seen),
            non_finite=self._non_finite,
        )

    def _kind(self) -> Kind:
        kinds = set(self.kinds)
        if not kinds:
            return "empty"
        if kinds == {"integer", "number"}:
            return "number"
        if kinds == {"date", "datetime"}:
            return "datetime"
        return kinds.pop() if len(kinds) == 1 else "mixed"  # type: ignore[return-value]

    def _count(self, cell: str) -> None:
        if self._seen is not None:
            self._seen.add(hash(cell))  # 64 bits each, however long the cells are
            if len(self._seen) > DISTINCT_COUNTED:
                self._seen = None


def _json(extreme: tuple[Any, Any] | None) -> int | float | str | None:
    value: int | float | str | None = extreme and extreme[1]
    return str(value) if isinstance(value, int) and abs(value) > SAFE_INTEGER else value
