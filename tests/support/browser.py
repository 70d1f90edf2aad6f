"""A real Chromium for tests of what browsers do."""

from __future__ import annotations

import os
import shutil
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from playwright.async_api import Browser

_NAMES = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome-stable", "google-chrome")


def chromium_path() -> str:
    """Return the browser to use; fails the test when there is none, since a skip would hide it."""
    if named := os.environ.get("MILEPOST_TEST_CHROMIUM"):
        return named
    for name in _NAMES:
        if path := shutil.which(name):
            return path
    pytest.fail(
        "This test needs a Chromium. Run `python3 dev.py test`, which finds or brings one, or set "
        "MILEPOST_TEST_CHROMIUM=/path/to/chromium."
    )


@asynccontextmanager
async def launched_chromium(*arguments: str, without: Sequence[str] = ()) -> AsyncIterator[Browser]:
    """Start the browser and yield it, with more `arguments`, and `without` some of those that Playwright gives it."""
    from playwright.async_api import async_playwright  # slow to import: only tests with a browser pay

    path = chromium_path()
    async with async_playwright() as playwright:
        # /dev/shm holds 64 MB in containers, and pages crash when it is full.
        browser = await playwright.chromium.launch(
            executable_path=path,
            args=["--disable-dev-shm-usage", *arguments],
            ignore_default_args=list(without),
        )
        try:
            yield browser
        finally:
            await browser.close()
