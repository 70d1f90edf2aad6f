"""What is installed serves the same page as a checkout."""

from __future__ import annotations

import re
from pathlib import Path

from hatchling.builders.wheel import WheelBuilder

from tests.support.process import ROOT

FRONTEND = ROOT / "frontend"
STATIC = "milepost_api/static/"
_LOADED = re.compile(r"""(?:\bfrom|\bimport|src=|href=)\s*["'](\.{0,2}/?[\w./-]+\.(?:js|css|svg))["']""")


def needed(path: Path, seen: set[Path]) -> set[Path]:
    """Follow what a file loads, and what that loads."""
    if path not in seen:
        seen.add(path)
        for name in _LOADED.findall(path.read_text("utf-8")):
            needed((path.parent / name).resolve(), seen)
    return seen


def test_the_wheel_holds_all_that_the_page_loads_and_nothing_of_its_tests() -> None:
    """A module that is missing there would leave an installed Milepost with a blank page."""
    files = {one.distribution_path for one in WheelBuilder(str(ROOT)).recurse_included_files()}
    shipped = {path.removeprefix(STATIC) for path in files if path.startswith(STATIC)}
    wanted = {path.relative_to(FRONTEND).as_posix() for path in needed(FRONTEND / "index.html", set())}
    assert len(wanted) > 20
    assert wanted <= shipped
    assert not [path for path in shipped if "test" in path or path.endswith(".json")]
