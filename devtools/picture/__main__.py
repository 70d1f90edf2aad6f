"""`python -m devtools.picture` draws README's picture from the recorded run; with `--record` it records one first."""

from __future__ import annotations

import asyncio
import json
import sys

from devtools.environment import ROOT
from devtools.picture.draw import draw
from devtools.picture.record import find_chromium, record
from devtools.picture.run import Run

FOLDER = ROOT / "docs" / "picture"
RUN, PICTURE = FOLDER / "run.json", FOLDER / "bar.svg"


def main(arguments: list[str]) -> None:
    """Write the picture."""
    if "--record" in arguments:
        find_chromium()
        recorded = asyncio.run(record())
        RUN.write_text(json.dumps(recorded.to_json(), indent=1) + "\n")
    PICTURE.write_text(draw(Run.from_json(json.loads(RUN.read_text()))))
    print(f"{PICTURE.relative_to(ROOT)}: {PICTURE.stat().st_size:,} bytes")


if __name__ == "__main__":
    main(sys.argv[1:])
