"""Pages of elements and hooks, served to a browser from the working tree: no server takes part."""

from __future__ import annotations

import mimetypes
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from tests.support.node import node_module, node_path
from tests.support.page import ARTIFACTS, WatchedPage, tab
from tests.support.process import ROOT

if TYPE_CHECKING:
    from playwright.async_api import Browser, Route

ORIGIN = "http://tree.test"
BARS = ROOT / "tests/support/bars"
_BLANK = '<!doctype html><html lang="en"><title>Bars</title><meta name="color-scheme" content="light dark"><div id="root">'


async def _serve(route: Route) -> None:
    """Answer with a file of the tree; every other path is a page with nothing on it."""
    path = ROOT / route.request.url.removeprefix(ORIGIN).split("?")[0].lstrip("/")
    file = path / "index.html" if (path / "index.html").is_file() else path
    if file.is_file():
        kind = mimetypes.guess_type(file.name)[0]
        await route.fulfill(body=file.read_bytes(), content_type=kind or "text/plain")
    else:
        await route.fulfill(body=_BLANK, content_type="text/html")


@asynccontextmanager
async def tree(browser: Browser, **options: Any) -> AsyncIterator[WatchedPage]:
    """Open a tab that knows the files of the working tree; what the browser complains of fails the test."""
    async with tab(browser, **options) as page:
        await page.page.route(f"{ORIGIN}/**", _serve)
        yield page


@asynccontextmanager
async def gallery(browser: Browser, query: str = "", **options: Any) -> AsyncIterator[WatchedPage]:
    """Open the page with every state, and wait until it has said all it has to say."""
    async with tree(browser, **options) as page:
        await page.page.goto(f"{ORIGIN}/examples/gallery/{query}")
        await page.page.locator("#lost [part=trouble]", has_text="Trying again.").wait_for()
        await page.page.locator("#list [part=item]").nth(3).wait_for()
        yield page


@asynccontextmanager
async def stage(browser: Browser, **options: Any) -> AsyncIterator[WatchedPage]:
    """Open a page whose elements are driven by hand; see `stage.js` for what it has on `window`."""
    async with tree(browser, **options) as page:
        await page.page.goto(f"{ORIGIN}/nothing")
        await page.page.add_script_tag(url=f"{ORIGIN}/tests/support/bars/stage.js", type="module")
        await page.page.wait_for_function("window.staged")
        yield page


def bundled(entry: str, platform: str, *more: str) -> str:
    """Return a file of this folder with all it imports, for `browser` or `node`."""
    esbuild = node_module("esbuild")
    script = ROOT / "tests/tools/bundle.mjs"
    return _said(str(script), str(esbuild.parent), str(BARS / entry), platform, *more)


def rendered(bundle: str) -> str:
    """Run a bundle in Node and return what it printed."""
    return _said("-", given=bundle)  # too long for an argument


def _said(*argv: str, given: str = "") -> str:
    command = [node_path(), *argv]
    ended = subprocess.run(command, input=given, capture_output=True, text=True, check=False, timeout=60)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


async def shoot(page: WatchedPage, name: str) -> None:
    """Keep a picture of all that is there, also of what would not be drawn before it is scrolled to."""
    ARTIFACTS.mkdir(exist_ok=True)
    await page.page.screenshot(path=ARTIFACTS / f"{name}.png")


async def faults(page: WatchedPage) -> list[str]:
    """Return what axe-core finds wrong with the page, in a sentence each."""
    # Not as a script tag: the page is strict about whose scripts it runs.
    await page.page.evaluate((node_module("axe-core") / "axe.min.js").read_text("utf-8"))
    found: list[str] = await page.page.evaluate(
        """async () => (await axe.run()).violations.flatMap(({ help, nodes }) =>
             nodes.map(({ target, failureSummary }) => `${help}: ${target.flat().join(" ")}: ${failureSummary}`))"""
    )
    return found
