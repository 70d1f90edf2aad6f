"""Tasks for the tests of the page, beside the built-in ones."""

from __future__ import annotations

import asyncio
from typing import Literal

from milepost import progress, task

MARKUP = '<img src="x" onerror="window.broken = true"><b>bold</b>'


@task(name="page.steps", max_attempts=2)
async def steps(delay_seconds: float = 0.05) -> dict[str, int]:
    """Work in two steps, say something in each, and hand out something."""
    with progress.step("fetch", weight=1):
        progress.log("fetching")
        for part in progress.track(range(5), unit="files"):
            await asyncio.sleep(delay_seconds)
            progress.output({"part": part})
    with progress.step("import", weight=3):
        progress.log("a row looks odd", "warning")
        for _ in progress.track(range(20), unit="rows"):
            await asyncio.sleep(delay_seconds)
    return {"rows": 20}


@task(name="page.form")
async def form(
    text: str,
    colour: Literal["red", "green"] = "red",
    count: int | None = None,
    ratio: float = 0.5,
    loud: bool = False,
    names: list[str] = [],  # noqa: B006 - a schema's default
) -> list[object]:
    """Return what came in."""
    return [text, colour, count, ratio, loud, names]


@task(name="page.markup")
async def markup() -> str:
    """Say things that would be a page's if it took text for HTML."""
    progress(1, 2, MARKUP)
    progress.log(MARKUP)
    progress.output(MARKUP)
    return MARKUP


@task(name="page.speak")
async def speak(text: str, times: int = 1) -> str:
    """Hand out a text, as large as `times` makes it, by every way there is."""
    whole = text * times
    progress(1, 2, text)
    progress.log(text)
    progress.output(whole)
    return whole
