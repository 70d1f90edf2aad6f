"""A tab that Playwright does not hold: it can be hidden, its timers slow down, and it can be frozen.

Playwright keeps all its tabs in the foreground. This one is made in a window of its own, in a profile that
Playwright does not know, and driven by the DevTools protocol: minimized, it is hidden as a tab in the background is.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from itertools import count
from typing import TYPE_CHECKING, Any

from tests.support.browser import launched_chromium
from tests.support.wait import DEADLINE_SECONDS

if TYPE_CHECKING:
    from playwright.async_api import Browser, CDPSession

# With these, Playwright's browser treats a tab in the background like one in front.
FOREGROUND = (
    "--disable-background-timer-throttling",
    "--disable-backgrounding-occluded-windows",
    "--disable-renderer-backgrounding",
)


class LooseTab:
    """`await tab.evaluate("(n) => n + 1", 3)`; `hide()`, `freeze()`, `wake()`."""

    def __init__(self, session: CDPSession, target: str, attached: str) -> None:
        self._session, self._target, self._attached = session, target, attached
        self._numbers = count(1)
        self._waiting: dict[int, asyncio.Future[dict[str, Any]]] = {}
        session.on("Target.receivedMessageFromTarget", self._received)

    async def goto(self, url: str) -> None:
        await self.send("Page.enable")
        await self.send("Page.navigate", url=url)
        await self.evaluate(
            "() => new Promise((done) => document.readyState === 'complete' ? done() : addEventListener('load', done))"
        )

    async def evaluate(self, code: str, argument: Any = None) -> Any:
        """Run statements, or call a function with the argument; return what it returns, as JSON."""
        is_call = code.lstrip().startswith(("(", "async (")) and "=>" in code
        text = f"({code})({json.dumps(argument)})" if is_call else code
        found = await self.send(
            "Runtime.evaluate", expression=text, awaitPromise=True, returnByValue=True, userGesture=True
        )
        assert "exceptionDetails" not in found, found["exceptionDetails"]
        return found["result"].get("value")

    async def hide(self) -> None:
        """Minimize its window: `visibilitychange`, and timers once a second at most."""
        await self._window("minimized")

    async def show(self) -> None:
        await self._window("normal")

    async def freeze(self) -> None:
        """Let no task of the page run any more, as browsers do with tabs that are long in the background."""
        await self.hide()
        await self.send("Page.setWebLifecycleState", state="frozen")

    async def wake(self) -> None:
        await self.send("Page.setWebLifecycleState", state="active")
        await self.show()

    async def close(self) -> None:
        await self._session.send("Target.closeTarget", {"targetId": self._target})

    async def send(self, method: str, **params: Any) -> dict[str, Any]:
        """Send a command of the DevTools protocol and return its result."""
        number = next(self._numbers)
        answer = self._waiting[number] = asyncio.get_running_loop().create_future()
        message = json.dumps({"id": number, "method": method, "params": params})
        await self._session.send(
            "Target.sendMessageToTarget", {"sessionId": self._attached, "message": message}
        )
        async with asyncio.timeout(DEADLINE_SECONDS):
            told = await answer
        assert "error" not in told, (method, told)
        result: dict[str, Any] = told["result"]
        return result

    async def _window(self, state: str) -> None:
        found = await self._session.send("Browser.getWindowForTarget", {"targetId": self._target})
        bounds = {"windowId": found["windowId"], "bounds": {"windowState": state}}
        await self._session.send("Browser.setWindowBounds", bounds)

    def _received(self, event: dict[str, Any]) -> None:
        message = json.loads(event["message"])
        if event["sessionId"] == self._attached and "id" in message:
            self._waiting.pop(message["id"]).set_result(message)


class LooseProfile:
    """Tabs of one browser profile, which share locks and channels."""

    def __init__(self, session: CDPSession, context: str) -> None:
        self._session, self._context = session, context

    async def tab(self, url: str) -> LooseTab:
        options = {"url": "about:blank", "browserContextId": self._context, "newWindow": True}
        target = (await self._session.send("Target.createTarget", options))["targetId"]
        attached = await self._session.send("Target.attachToTarget", {"targetId": target, "flatten": False})
        made = LooseTab(self._session, target, attached["sessionId"])
        await made.goto(url)
        return made


@asynccontextmanager
async def loose_chromium(*arguments: str, without: Sequence[str] = FOREGROUND) -> AsyncIterator[Browser]:
    """A browser whose tabs may fall asleep."""
    async with launched_chromium(*arguments, without=without) as browser:
        yield browser


@asynccontextmanager
async def loose_profile(browser: Browser) -> AsyncIterator[LooseProfile]:
    """A new profile, gone with all its tabs at the end."""
    session = await browser.new_browser_cdp_session()
    context = (await session.send("Target.createBrowserContext"))["browserContextId"]
    try:
        yield LooseProfile(session, context)
    finally:
        await session.send("Target.disposeBrowserContext", {"browserContextId": context})
