"""RESULTS.md: what was promised and what was found, the machine's words, and every row's table."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from benchmarks.report.plot import picture
from benchmarks.report.table import Table, markdown

HERE = Path(__file__).parent.parent
RESULTS, PICTURE = HERE / "RESULTS.md", HERE / "results.svg"
WORDS = """\
# What was measured

Written by `python3 dev.py bench`: every row beside its peers, in one run, on one machine. The server that is measured
has one core to itself; the client, the publisher and Redis share the other. Read the figures as ratios: another
machine has others.

![The most deliveries a second, and what one costs](results.svg)

Of deliveries and new streams a second, more is better; of all else, less.
"""


def write(
    machine: Sequence[tuple[str, str]], tables: Sequence[Table], peers: Sequence[tuple[str, str]]
) -> None:
    """Write both files anew."""
    RESULTS.write_text(results(machine, tables, peers), "utf-8")
    PICTURE.write_text(picture(plots(tables)), "utf-8")


def results(
    machine: Sequence[tuple[str, str]], tables: Sequence[Table], peers: Sequence[tuple[str, str]]
) -> str:
    """Return the page."""
    reach = [(one.what, one.promised, one.found, one.verdict) for table in tables for one in table.reach]
    parts = [
        WORDS,
        "## Promised and found",
        markdown(("what", "promised", "found", ""), reach),
        "## Where",
        markdown(("", ""), machine),
        "## Who",
        markdown(("side", "what it is"), peers),
        "## Every row",
        *(table.markdown() for table in tables),
    ]
    return "\n\n".join(part.strip() for part in parts) + "\n"


def plots(tables: Sequence[Table]) -> dict[str, dict[str, float]]:
    return {title: dict(figures) for table in tables for title, figures in table.plots.items()}
