"""The application as an ASGI app: what stands around its middlewares."""

from __future__ import annotations

import httpx2
import pytest
from milepost_api.app import Application
from starlette.middleware.errors import ServerErrorMiddleware
from starlette.types import ASGIApp, Receive, Scope, Send

pytestmark = pytest.mark.anyio


async def test_instrumentation_sees_every_request() -> None:
    """OpenTelemetry's puts itself around what an application builds, and tells nobody."""
    app, seen, build = Application(), list[str](), Application.build_middleware_stack

    def instrumented() -> ASGIApp:
        inner = build(app)

        async def watched(scope: Scope, receive: Receive, send: Send) -> None:
            seen.append(scope["path"])
            await inner(scope, receive, send)

        return ServerErrorMiddleware(watched)

    app.build_middleware_stack = instrumented  # type: ignore[method-assign]
    async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app=app), base_url="http://t") as client:
        for path in ("/a", "/b"):
            assert (await client.get(path)).status_code == 404
    assert seen == ["/a", "/b"]
