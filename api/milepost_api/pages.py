"""The dashboard: files from `frontend/`, served where no route answers."""

from __future__ import annotations

from pathlib import Path, PurePosixPath

from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.staticfiles import StaticFiles
from starlette.types import Receive, Scope, Send

# Scripts and styles of this server only, nothing inline: text that a job reports cannot become code.
CSP = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; "
    "connect-src 'self'; manifest-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)
HEADERS = {
    "Content-Security-Policy": CSP,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",  # asked again each time, and answered 304 by the ETag
}
SERVED = frozenset({".html", ".js", ".css", ".svg", ".png", ".ico", ".woff2", ".webmanifest"})
HIDDEN = frozenset({"node_modules", "test", "tests"})


def pages_folder() -> Path | None:
    """Return where the pages are: inside an installed package, or beside `api/` in a checkout."""
    here = Path(__file__).parent
    candidates = (here / "static", here.parent.parent / "frontend")
    return next((folder for folder in candidates if (folder / "index.html").is_file()), None)


def is_page(method: str, path: str) -> bool:
    """Whether this asks for the page or a part of it: files that everybody may download anyway, and no data.

    With API keys set these are what a browser gets without one; the page then asks for a key.
    """
    if method not in ("GET", "HEAD") or path.startswith("/v1/"):
        return False
    return path == "/" or PurePosixPath(path).suffix in SERVED


class Pages:
    """ASGI: GET and HEAD of a file, 404 for everything else."""

    def __init__(self, folder: Path | None = None) -> None:
        found = folder or pages_folder()
        self._files = StaticFiles(directory=found, html=True) if found else None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            raise HTTPException(404)
        response = await self._response(scope)
        response.headers.update(HEADERS)
        await response(scope, receive, send)

    async def _response(self, scope: Scope) -> Response:
        if self._files is None or scope["method"] not in ("GET", "HEAD"):
            raise HTTPException(404)
        path = self._files.get_path(scope)
        if not _is_public(path):
            raise HTTPException(404)
        return await self._files.get_response(path, scope)


def _is_public(path: str) -> bool:
    parts = PurePosixPath(path.replace("\\", "/")).parts
    if any(part.startswith(".") or part in HIDDEN for part in parts):
        return path == "."
    return not parts or PurePosixPath(parts[-1]).suffix in SERVED or PurePosixPath(parts[-1]).suffix == ""
