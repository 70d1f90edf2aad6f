"""docs/pitfalls.md is complete, and what it names is there."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
NUMBERS = range(1, 49)


@cache
def rows() -> dict[int, list[str]]:
    """Return the cells of every row by its number."""
    page = (ROOT / "docs/pitfalls.md").read_text()
    found = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in page.splitlines()]
    return {int(cells[0]): cells[1:] for cells in found if cells[0].isdigit()}


def test_every_pitfall_has_its_row() -> None:
    """1 to 48, in order, each once."""
    assert list(rows()) == list(NUMBERS)


@pytest.mark.parametrize("number", NUMBERS)
def test_a_pitfall_names_tests_that_are_there(number: int) -> None:
    """What goes wrong, what is done, and at least one test that exists under that name."""
    pitfall, done, shown = rows()[number]
    assert pitfall
    assert done
    named = re.findall(r"`(tests/\S+\.py)::(test_\w+)`", shown)
    assert named
    assert shown == ", ".join(f"`{path}::{name}`" for path, name in named)
    for path, name in named:
        assert re.search(rf"^(async )?def {name}\(", (ROOT / path).read_text(), re.MULTILINE), (path, name)
