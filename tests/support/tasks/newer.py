"""A module that only some workers load: a deploy under way."""

from __future__ import annotations

from milepost import task


@task(name="t.new")
async def new() -> str:
    return "known"
