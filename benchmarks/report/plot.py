"""A picture of a run: small multiples of bars, as SVG that reads well on light and on dark pages."""

from __future__ import annotations

import math
from collections.abc import Mapping
from html import escape

WIDTH, PANEL, BAR, GAP = 880, 400, 16, 9
LEFT, RIGHT, TOP = 76, 76, 34
OURS = "milepost"
STYLE = """\
  text { font: 12px system-ui, -apple-system, "Segoe UI", sans-serif; fill: #3d4451 }
  .title { font-weight: 600; font-size: 13px; fill: #14181f }
  .ours { font-weight: 600; fill: #14181f }
  rect { fill: #a9b1bd }
  rect.ours { fill: #2563c9 }
  line { stroke: #c9ced6 }
  @media (prefers-color-scheme: dark) {
    text { fill: #b4bcc8 }
    .title, .ours { fill: #f0f3f7 }
    rect { fill: #5d6675 }
    rect.ours { fill: #6ea8ff }
    line { stroke: #454d59 }
  }
"""


def picture(plots: Mapping[str, Mapping[str, float]]) -> str:
    """Return the SVG: a panel for each title, a bar for each side, lengths in proportion within a panel."""
    rows = max((len(figures) for figures in plots.values()), default=0)
    height = TOP + rows * (BAR + GAP) + 18
    lines = math.ceil(len(plots) / 2)
    panels = [
        _panel(title, figures, (place % 2) * (WIDTH - PANEL), (place // 2) * height)
        for place, (title, figures) in enumerate(plots.items())
    ]
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {lines * height}" '
        f'width="{WIDTH}" height="{lines * height}" role="img" aria-label="{escape("; ".join(plots))}">'
    )
    return "\n".join((head, f"<style>\n{STYLE}</style>", *panels, "</svg>")) + "\n"


def _panel(title: str, figures: Mapping[str, float], x: int, y: int) -> str:
    room = PANEL - LEFT - RIGHT
    known = {side: figure for side, figure in figures.items() if not math.isnan(figure)}
    most = max(known.values(), default=0) or 1
    parts = [
        f'<g transform="translate({x},{y})">',
        f'<text class="title" x="0" y="18">{escape(title)}</text>',
    ]
    for place, (side, figure) in enumerate(figures.items()):
        top = TOP + place * (BAR + GAP)
        ours = ' class="ours"' if side == OURS else ""
        length = max(1.5, room * known.get(side, 0) / most)
        middle = top + BAR - 4
        parts += [
            f'<text{ours} x="{LEFT - 8}" y="{middle}" text-anchor="end">{escape(side)}</text>',
            f'<rect{ours} x="{LEFT}" y="{top}" width="{length:.1f}" height="{BAR}" rx="2"/>',
            f'<text{ours} x="{LEFT + length + 6:.1f}" y="{middle}">{_figure(figure)}</text>',
        ]
    bottom = TOP + len(figures) * (BAR + GAP) - GAP + 4
    parts.append(f'<line x1="{LEFT}" x2="{LEFT}" y1="{TOP - 4}" y2="{bottom}"/>')
    return "\n".join((*parts, "</g>"))


def _figure(figure: float) -> str:
    if math.isnan(figure):
        return "none arrived"
    return f"{figure:,.0f}" if figure >= 100 else f"{figure:.1f}"
