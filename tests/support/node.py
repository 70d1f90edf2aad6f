"""Running JavaScript outside a browser."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.support.process import ROOT


def node_path() -> str:
    """Return the Node to use; fails the test when there is none, since a skip would hide it."""
    if path := os.environ.get("MILEPOST_TEST_NODE") or shutil.which("node"):
        return path
    pytest.fail(
        "This test needs Node. Run `python3 dev.py test`, which brings one, or set MILEPOST_TEST_NODE=/path/to/node."
    )


def node_module(name: str) -> Path:
    """Return the folder of an npm package of tests/tools; fails the test when it is not installed."""
    modules = Path(os.environ.get("MILEPOST_TEST_NODE_MODULES") or ROOT / "tests/tools/node_modules")
    if not (modules / name).is_dir():
        pytest.fail(f"This test needs the npm package {name}. Run `python3 dev.py test`, which installs it.")
    return modules / name


def run_node(*argv: str | Path, seconds: float = 60) -> None:
    """Run Node to its end, the working tree as its folder; fails the test with what it said when it fails."""
    ended = subprocess.run(
        [node_path(), *map(str, argv)], cwd=ROOT, capture_output=True, text=True, check=False, timeout=seconds
    )
    if ended.returncode != 0:
        pytest.fail(f"node {' '.join(map(str, argv))} failed:\n{ended.stdout}\n{ended.stderr}")
