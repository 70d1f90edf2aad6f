"""Draw a story as an SVG that moves by itself: CSS, no script, so that it also moves inside of an `<img>`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from html import escape

from devtools.picture.run import Run
from devtools.picture.story import RESUMED, Line, Story, tell

WIDTH, HEIGHT, MARGIN = 840, 326, 28
BAR_TOP, BAR_HEIGHT = 58, 14
PANE_TOP, LINE_HEIGHT, LINES = 122, 22, 8
BAR_WIDTH = WIDTH - 2 * MARGIN
_BAR = f'x="{MARGIN}" y="{BAR_TOP}" width="{BAR_WIDTH}" height="{BAR_HEIGHT}" rx="{BAR_HEIGHT / 2:g}"'
GLIDE, BURST = 0.2, 0.7
"""Seconds that a bar takes for a step, and that the eye needs for all that comes at once. Never ahead of the truth."""

_STYLE = """
svg { --card: #fff; --pane: #f6f8fa; --line: #d5d9df; --ink: #1c2128; --muted: #5d6673; --track: #e6e8ec;
  --accent: #3457d5; --good: #1a7f4b; --warning: #9a5b00; --ahead: #c3cdf3 }
@media (prefers-color-scheme: dark) {
  svg { --card: #0d1117; --pane: #161b22; --line: #30363d; --ink: #e6edf3; --muted: #9aa4b2; --track: #262c36;
    --accent: #8ea6ff; --good: #55c98a; --warning: #f0b45a; --ahead: #3b4676 }
}
text { font: 15px system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; fill: var(--ink);
  font-variant-numeric: tabular-nums }
.name { font-size: 18px; font-weight: 600 }
.percent { font-weight: 600 }
.muted { fill: var(--muted) }
.accent { fill: var(--accent) }
.good { fill: var(--good) }
.warning { fill: var(--warning) }
.small { font-size: 13px }
.lines text { font: 13px ui-monospace, "SF Mono", Menlo, Consolas, "DejaVu Sans Mono", monospace; white-space: pre }
@media (prefers-reduced-motion: reduce) { * { animation: none !important } }
"""


def draw(run: Run) -> str:
    """Return the SVG."""
    story = tell(run)
    sheet = _Sheet(story.seconds)
    body = "\n".join(_body(run, story, sheet))
    title = f"A bar follows a job, loses its connection at {run.cut_at:.1f} s, and comes back"
    return f"""\
<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}" \
role="img" aria-labelledby="title about">
<title id="title">{title}</title>
<desc id="about">Recorded: while the connection is cut the worker goes on. The reader comes back with the id of its \
last event, gets all that it has missed, once and in order, and sees the job end.</desc>
<style>{_STYLE}{sheet.rules()}</style>
<clipPath id="bar"><rect {_BAR}/></clipPath>
<clipPath id="facts"><rect x="{MARGIN}" y="80" width="420" height="26"/></clipPath>
<clipPath id="pane"><rect x="1" y="{PANE_TOP + 8}" width="{WIDTH - 2}" height="{LINES * LINE_HEIGHT + 2}"/></clipPath>
{body}
</svg>
"""


class _Sheet:
    """Collects animations. Each begins as it looks at the still moment, for readers who want nothing to move."""

    def __init__(self, seconds: float) -> None:
        self._seconds, self._rules = seconds, list[str]()

    def add(self, stops: Iterable[tuple[float, str]], still: str, *, timing: str = "linear") -> str:
        """Add an animation through `stops`, (second, declarations); return the class that has it."""
        name = f"a{len(self._rules)}"
        known = list(stops)
        known.append((self._seconds, known[-1][1]))  # or it would go back to the still moment until the end
        frames = "".join(f"{at / self._seconds:.2%}{{{what}}}" for at, what in _thinned(known, self._seconds))
        self._rules.append(
            f".{name}{{{still};animation:{name} {self._seconds:g}s {timing} infinite}}@keyframes {name}{{{frames}}}"
        )
        return name

    def rules(self) -> str:
        return "\n".join(self._rules) + "\n"


def _thinned(stops: Iterable[tuple[float, str]], seconds: float) -> Iterator[tuple[float, str]]:
    """Leave out what would not be seen: of stops at one moment all but the last, and repetitions in a row."""
    latest: dict[str, tuple[float, str]] = {}
    for at, what in stops:
        latest[f"{at / seconds:.4f}"] = (at, what)
    kept = list(latest.values())
    for index, (at, what) in enumerate(kept):
        around = kept[max(0, index - 1) : index + 2]
        if len(around) < 3 or {one for _, one in around} != {what}:
            yield at, what


def _body(run: Run, story: Story, sheet: _Sheet) -> Iterator[str]:
    size = f'x=".5" y=".5" width="{WIDTH - 1}" height="{HEIGHT - 1}" rx="12"'
    yield f'<rect {size} fill="var(--card)" stroke="var(--line)"/>'
    yield f'<text class="name" x="{MARGIN}" y="39">{escape(run.task)}</text>'
    end = story.seconds
    whole = sheet.add(
        [(0, "opacity:0"), (0.25, "opacity:1"), (end - 0.35, "opacity:1"), (end, "opacity:0")], "opacity:1"
    )
    yield f'<g class="{whole}">'
    yield from _states(story, sheet)
    yield from _bars(story, sheet)
    yield from _facts(story, sheet)
    yield "</g>"
    yield from _legend()
    yield from _pane(story, sheet, whole)


def _states(story: Story, sheet: _Sheet) -> Iterator[str]:
    shown = [one.at for one in story.states]
    for number, one in enumerate(story.states):
        until = shown[number + 1] if number + 1 < len(shown) else story.seconds
        visible = one.at <= story.still_at < until
        name = sheet.add(
            [(0, _opacity(one.at == 0)), (one.at, _opacity(True)), (until, _opacity(False))],
            _opacity(visible),
            timing="step-end",
        )
        # The words end where the bar ends; the dot stands before them, in their own line of text.
        yield (
            f'<text class="{one.tone} {name}" x="{WIDTH - MARGIN}" y="39" text-anchor="end">'
            f'<tspan font-size="10" dy="-1.5">\u25cf</tspan><tspan dy="1.5"> {escape(one.text)}</tspan></text>'
        )


def _opacity(visible: bool) -> str:
    return f"opacity:{int(visible)}"


def _bars(story: Story, sheet: _Sheet) -> Iterator[str]:
    ahead = sheet.add(_moves(story.done), _moved(_at(story.done, story.still_at)))
    end = story.states[-1].at
    colours = [(0, "fill:var(--accent)"), (end, "fill:var(--good)"), (story.seconds, "fill:var(--good)")]
    seen = sheet.add(_moves(story.seen), _moved(_at(story.seen, story.still_at)))
    colour = sheet.add(colours, "fill:var(--accent)", timing="step-end")
    yield '<g clip-path="url(#bar)">'
    yield f'<rect {_BAR} fill="var(--track)"/>'
    yield f'<rect class="{ahead}" {_BAR} fill="var(--ahead)"/>'
    yield f'<g class="{seen}"><rect class="{colour}" {_BAR}/></g>'
    yield "</g>"


def _moves(steps: Sequence[tuple[float, float]]) -> Iterator[tuple[float, str]]:
    """Glide from each place to the next, beginning when it is known; longer where much came at once."""
    begun, place = 0.0, 0.0
    yield 0, _moved(0)
    for number, (at, percent) in enumerate(steps):
        following = steps[number + 1][0] if number + 1 < len(steps) else at + BURST
        if following - at < 0.02:
            continue  # at one moment: only where it led to
        begun = max(begun, at)
        yield begun, _moved(place)
        begun = min(begun + (BURST if percent - place > 6 else GLIDE), max(following, begun + 0.05))
        place = percent
        yield begun, _moved(place)


def _moved(percent: float) -> str:
    return f"transform:translateX({(percent - 100) / 100 * BAR_WIDTH:.0f}px)"


def _at(steps: Sequence[tuple[float, float]], moment: float) -> float:
    return [percent for at, percent in steps if at <= moment][-1]


def _facts(story: Story, sheet: _Sheet) -> Iterator[str]:
    """All the words below each other, of which a window shows one."""
    rows = list(dict.fromkeys(text for _, text in story.counts))
    percents = dict(zip((text for _, text in story.counts), (p for _, p in story.seen), strict=True))
    stops = [(at, f"transform:translateY({-26 * rows.index(text)}px)") for at, text in story.counts]
    still = [what for at, what in stops if at <= story.still_at][-1]
    yield f'<g clip-path="url(#facts)"><g class="{sheet.add(stops, still, timing="step-end")}">'
    for number, text in enumerate(rows):
        if text:
            percent = f'<tspan class="percent">{percents[text]:.0f} %</tspan>'
            count = f'<tspan x="{MARGIN + 62}" class="muted">{text}</tspan>'
            yield f'<text x="{MARGIN}" y="{98 + 26 * number}">{percent}{count}</text>'
    yield "</g></g>"


def _legend() -> Iterator[str]:
    for x, colour, text in ((590, "ahead", "done by the worker"), (752, "accent", "shown")):
        yield f'<rect x="{x}" y="88" width="10" height="10" rx="5" fill="var(--{colour})"/>'
        yield f'<text class="muted small" x="{x + 16}" y="98">{text}</text>'


def _pane(story: Story, sheet: _Sheet, whole: str) -> Iterator[str]:
    """The stream, as it came: the newest line is the lowest."""
    foot = f"V{HEIGHT - 13}a12 12 0 0 1-12 12H13a12 12 0 0 1-12-12z"
    yield f'<path d="M1 {PANE_TOP}H{WIDTH - 1}{foot}" fill="var(--pane)"/>'
    yield f'<path d="M1 {PANE_TOP}H{WIDTH - 1}" stroke="var(--line)"/>'
    resumed = next(number for number, one in enumerate(story.lines) if one.tone == RESUMED)
    scroll = sheet.add(_scrolled(story.lines), _lifted(resumed + LINES - 2))
    yield f'<g clip-path="url(#pane)" class="{whole}"><g class="lines {scroll}">'
    for number, line in enumerate(story.lines):
        tone = f' class="{line.tone}"' if line.tone else ""
        y = PANE_TOP + 24 + LINE_HEIGHT * number
        yield f'<text{tone} x="{MARGIN}" y="{y}" xml:space="preserve">{escape(line.text, quote=False)}</text>'
    yield "</g></g>"


def _scrolled(lines: Sequence[Line]) -> Iterator[tuple[float, str]]:
    yield 0, _lifted(0)
    begun, shown = 0.0, 0
    for number, line in enumerate(lines):
        following = lines[number + 1].at if number + 1 < len(lines) else line.at + BURST
        if following - line.at < 0.02:
            continue
        begun = max(begun, line.at)
        yield begun, _lifted(shown)
        begun += BURST if number - shown > 3 else 0.08
        begun = min(begun, max(following, line.at + 0.03)) if number - shown <= 3 else begun
        shown = number
        yield begun, _lifted(shown)


def _lifted(number: int) -> str:
    """Bring a line to the foot of the pane."""
    return f"transform:translateY({(LINES - 1 - number) * LINE_HEIGHT}px)"
