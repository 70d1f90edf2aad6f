"""Compare the pictures that the tests took with those of before: `python -m devtools.looks keep`, then `... compare`.

Fonts differ from machine to machine, so no picture is a truth that a test could hold: somebody has to look. This shows
what there is to look at, and nothing else.
"""

from __future__ import annotations

import shutil
import sys
from dataclasses import dataclass, field
from html import escape
from pathlib import Path

from devtools.environment import ROOT

TAKEN = ROOT / "test-artifacts"
USAGE = "usage: python -m devtools.looks keep | compare"

_PAGE = """\
<!doctype html>
<html lang="en">
<meta charset="utf-8">
<title>Looks: {changed} changed</title>
<style>
  body {{ font: 15px system-ui; margin: 2rem; color-scheme: light dark }}
  figure {{ display: grid; grid-template-columns: repeat(3, 1fr); gap: 1rem; margin: 0 0 3rem }}
  figcaption {{ grid-column: 1 / -1; font-weight: 600 }}
  img {{ width: 100%; border: 1px solid gray }}
  .difference {{ position: relative; isolation: isolate }}
  .difference img + img {{ position: absolute; inset: 0; mix-blend-mode: difference }}
</style>
<h1>{changed} changed, {new} new, {gone} gone, {same} the same</h1>
<p>Before, now, and the difference: black is what has stayed.</p>
{figures}
"""


@dataclass
class Looks:
    """Names of pictures, by what became of them."""

    changed: list[str] = field(default_factory=list)
    new: list[str] = field(default_factory=list)
    gone: list[str] = field(default_factory=list)
    same: list[str] = field(default_factory=list)


def keep(taken: Path) -> int:
    """Take what is there for what was before. Returns how many pictures that are."""
    before = taken / "before"
    shutil.rmtree(before, ignore_errors=True)
    before.mkdir(parents=True)
    pictures = sorted(taken.glob("*.png"))
    for picture in pictures:
        shutil.copy2(picture, before)
    return len(pictures)


def compare(taken: Path) -> Looks:
    """Say what became of each picture, byte by byte: the same browser draws the same thing the same way."""
    before = {path.name: path for path in (taken / "before").glob("*.png")}
    now = {path.name: path for path in taken.glob("*.png")}
    looks = Looks()
    for name in sorted(before | now):
        if name not in before:
            looks.new.append(name)
        elif name not in now:
            looks.gone.append(name)
        else:
            same = before[name].read_bytes() == now[name].read_bytes()
            (looks.same if same else looks.changed).append(name)
    return looks


def page(looks: Looks) -> str:
    """Return a page that shows what is not the same; it stands beside the pictures."""
    figures = [_figure(name, before=True, now=True) for name in looks.changed]
    figures += [_figure(name, before=False, now=True) for name in looks.new]
    figures += [_figure(name, before=True, now=False) for name in looks.gone]
    counts = {kind: len(names) for kind, names in vars(looks).items()}
    return _PAGE.format(**counts, figures="\n".join(figures))


def _figure(name: str, *, before: bool, now: bool) -> str:
    shown = escape(name, quote=True)
    old, new = f'<img alt="before" src="before/{shown}">', f'<img alt="now" src="{shown}">'
    columns = [old if before else "<i>new</i>", new if now else "<i>gone</i>"]
    if before and now:
        columns.append(f'<div class="difference">{old}{new}</div>')
    return f"<figure><figcaption>{shown}</figcaption>{''.join(columns)}</figure>"


def main(arguments: list[str], taken: Path = TAKEN) -> int:
    """Do what the command line says. Returns the exit code."""
    if arguments == ["keep"]:
        print(f"{keep(taken)} pictures are what was before.")
        return 0
    if arguments != ["compare"]:
        print(USAGE, file=sys.stderr)
        return 2
    if not (taken / "before").is_dir():
        print(
            "There is nothing to compare with: `keep` first, then change, then run the tests.",
            file=sys.stderr,
        )
        return 2
    looks = compare(taken)
    (taken / "looks.html").write_text(page(looks))
    print(
        f"{len(looks.changed)} changed, {len(looks.new)} new, {len(looks.gone)} gone: {taken / 'looks.html'}"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
