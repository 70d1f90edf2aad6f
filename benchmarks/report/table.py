"""A table of figures, as text for a terminal and as Markdown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

Cell = str


@dataclass(frozen=True)
class Reach:
    """One promise of the design, what was found, and whether that is what was promised."""

    what: str
    promised: str
    found: str
    ok: bool

    @property
    def verdict(self) -> str:
        return "ok" if self.ok else "not reached"


@dataclass(frozen=True)
class Table:
    """What a row has found. The first cell of each line says whose it is; `plot` is side -> figure."""

    title: str
    columns: Sequence[str]
    lines: Sequence[Sequence[Cell]]
    notes: Sequence[str] = ()
    reach: Sequence[Reach] = ()
    plots: Mapping[str, Mapping[str, float]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for line in self.lines:
            if len(line) != len(self.columns):
                raise ValueError(f"{self.title}: {len(line)} cells under {len(self.columns)} columns: {line}")

    def text(self) -> str:
        """Return it for a terminal: the first column to the left, figures to the right."""
        rows = [("", *self.columns[1:]), *self.lines] if self.lines else []
        widths = (
            [max(len(row[column]) for row in rows) for column in range(len(self.columns))] if rows else []
        )
        shown = [
            "  "
            + "  ".join(
                _aligned(cell, width, place)
                for place, (cell, width) in enumerate(zip(row, widths, strict=True))
            )
            for row in rows
        ]
        verdicts = [
            f"  [{one.verdict}] {one.what}: {one.found} (promised: {one.promised})" for one in self.reach
        ]
        return "\n".join(
            (self.title, *(line.rstrip() for line in shown), *(f"  {note}" for note in self.notes), *verdicts)
        )

    def markdown(self) -> str:
        """Return it for RESULTS.md."""
        return "\n".join(
            (
                f"### {self.title}",
                "",
                markdown(self.columns, self.lines),
                *(f"\n{note}" for note in self.notes),
            )
        )


def _aligned(cell: Cell, width: int, place: int) -> str:
    return cell.ljust(width) if place == 0 else cell.rjust(width)


def markdown(columns: Sequence[str], lines: Sequence[Sequence[Cell]]) -> str:
    """Return a Markdown table whose figures stand to the right."""
    rule = ["---", *("---:" for _ in columns[1:])]
    return "\n".join(
        "| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in (columns, rule, *lines)
    )


def times(ours: float, theirs: float) -> str:
    """Return a ratio in words."""
    if not theirs or theirs != theirs or ours != ours:  # noqa: PLR0124  (NaN: nothing was measured)
        return "?"
    ratio = ours / theirs
    return f"{ratio:.0f} x" if ratio >= 20 else f"{ratio:.1f} x" if ratio >= 2 else f"{ratio:.2f} x"
