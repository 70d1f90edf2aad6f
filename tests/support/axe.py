"""What axe-core finds wrong with a page for those who hear it, press keys, or see little."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

from tests.support.node import node_module

if TYPE_CHECKING:
    from playwright.async_api import Page

# The rules of WCAG 2.2 A and AA, and axe's own on what the standard leaves open.
_RUN = """async () => {
  const { violations } = await axe.run(document, { resultTypes: ["violations"] })
  return violations.map(({ id, help, nodes }) => [id, help, nodes.slice(0, 5).map((node) =>
    [node.html.slice(0, 200), node.failureSummary])])
}"""


@cache
def _source() -> str:
    return (node_module("axe-core") / "axe.min.js").read_text(encoding="utf-8")


async def violations(page: Page) -> list[Any]:
    """Return the rules that the page breaks, each with where it does; shadow trees are looked into, too."""
    if not await page.evaluate("'axe' in window"):
        await page.evaluate(_source())  # by the debugger, so that the policy of the page stays as it is
    found: list[Any] = await page.evaluate(_RUN)
    return found
