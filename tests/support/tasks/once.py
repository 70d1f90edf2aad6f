"""A module that can be imported by the worker, and not a second time, by its fork server."""

from __future__ import annotations

import os
from pathlib import Path

from milepost import task

if (imported := os.environ.get("TEST_IMPORTED")) is not None:
    with Path(imported).open("x", encoding="utf-8"):
        pass


@task(name="once.process", process=True)
def process() -> None: ...
