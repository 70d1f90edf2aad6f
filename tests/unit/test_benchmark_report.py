"""What the benchmarks found, as it is printed and written."""

from __future__ import annotations

import math
import xml.etree.ElementTree as ET

import pytest

from benchmarks.report import Reach, Table, times
from benchmarks.report.plot import picture
from benchmarks.report.results import results

TABLE = Table(
    "1,000 streams",
    ("", "per second", "p99 ms"),
    [("tutorial", "12,000", "6,000.0"), ("milepost", "1,000,000", "61.0")],
    ["Read these as ratios."],
    [Reach("p99", "<= 60 ms", "61 ms", ok=False), Reach("rate", ">= 10 x", "11 x", ok=True)],
    {"per second": {"tutorial": 12_000.0, "milepost": 1_000_000.0}},
)


def test_a_table_on_the_terminal_has_its_figures_under_each_other() -> None:
    """Names stand to the left, figures end in the same column, and each promise has its verdict."""
    title, _, tutorial, milepost, note, missed, kept = TABLE.text().splitlines()

    assert title == "1,000 streams"
    assert len(tutorial) == len(milepost)
    assert tutorial.startswith("  tutorial")
    assert note == "  Read these as ratios."
    assert missed == "  [not reached] p99: 61 ms (promised: <= 60 ms)"
    assert kept.startswith("  [ok] rate")


def test_the_page_of_results_begins_with_what_was_promised() -> None:
    """A reader of RESULTS.md sees what was not reached before anything else, and the machine's words."""
    page = results([("processor", "one with | in its name")], [TABLE], [("milepost", "this")])

    assert "| p99 | <= 60 ms | 61 ms | not reached |" in page
    assert (
        page.index("not reached") < page.index("one with \\| in its name") < page.index("### 1,000 streams")
    )
    assert "| tutorial | 12,000 | 6,000.0 |" in page


def test_the_picture_is_well_formed_and_its_bars_are_in_proportion() -> None:
    """The longest bar is the largest figure; the others are as long as their part of it."""
    root = ET.fromstring(picture({"a < b": {"one": 25.0, "milepost": 100.0, "none": math.nan}}))
    bars = [float(rect.attrib["width"]) for rect in root.iter("{http://www.w3.org/2000/svg}rect")]

    assert bars[0] == pytest.approx(bars[1] / 4, abs=0.1)
    assert "none arrived" in "".join(root.itertext())


@pytest.mark.parametrize(
    ("ours", "theirs", "said"),
    [
        (1000.0, 10.0, "100 x"),
        (5.0, 2.0, "2.5 x"),
        (1.0, 3.0, "0.33 x"),
        (1.0, 0.0, "?"),
        (1.0, math.nan, "?"),
    ],
)
def test_a_ratio_is_said_with_as_many_digits_as_mean_something(ours: float, theirs: float, said: str) -> None:
    """Nobody learns more from 63.81 x than from 64 x, and a ratio to nothing is none."""
    assert times(ours, theirs) == said
