"""Answering with the files of a site: by version for ever, or asked again each time."""

from __future__ import annotations

from contextlib import suppress
from functools import lru_cache
from pathlib import Path, PurePosixPath

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.responses import RedirectResponse, Response
from starlette.types import Receive, Scope, Send

from milepost_api.pages.site import ASSETS, MEDIA_TYPES, Document, Site, names
from milepost_api.requests import path_of

_INSTALLED = Path(__file__).parents[1] / "static"
_CHECKOUT = Path(__file__).parents[3] / "frontend"
Signature = tuple[tuple[str, int, int], ...]


def pages_folder() -> Path | None:
    """Return where the pages are: inside an installed package, or beside `api/` in a checkout."""
    return next((folder for folder in (_INSTALLED, _CHECKOUT) if (folder / "index.html").is_file()), None)


def is_open(path: str) -> bool:
    """Whether an address is there for everybody, keys or not: the page, which asks for a key itself, and the elements,

    which other sites load by a tag. Neither an address bar nor a tag can send a key, and what they load is published:
    it says nothing of anybody's jobs.
    """
    return not path.startswith("/v1/") and (path in ("", "/") or PurePosixPath(path).suffix in MEDIA_TYPES)


class Pages:
    """ASGI: GET and HEAD of a file, 404 for everything else.

    In a checkout files change, because somebody works on them: they are looked at again for every page.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = folder or pages_folder()
        self._changes = self._folder != _INSTALLED
        self._signature: Signature = ()
        if self._folder:
            self._site = self._read(self._folder)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] not in ("GET", "HEAD") or self._folder is None:
            raise HTTPException(404)
        path = path_of(scope)
        if not path:  # the prefix without its slash: what the page names would be looked for beside it
            query = scope["query_string"].decode("latin-1")
            await RedirectResponse(f"{scope['path']}/{query and '?'}{query}")(scope, receive, send)
            return
        document = self._find(path[1:], self._folder)
        if document is None:
            raise HTTPException(404)
        await answer(document, scope["method"], Headers(scope=scope))(scope, receive, send)

    def _find(self, name: str, folder: Path) -> Document | None:
        # A file of a version that is known is looked up and no more: a page asks for dozens at once.
        if self._changes and not name.startswith(f"{ASSETS}/{self._site.version}/"):
            # An editor is about to put back what it took away: what was there is served meanwhile.
            with suppress(FileNotFoundError):
                self._site = self._read(folder)
        return self._site.documents.get(name)

    def _read(self, folder: Path) -> Site:
        if not self._changes:
            return _installed(folder)
        stats = ((name, (folder / name).stat()) for name in names(folder))
        signature = tuple((name, stat.st_mtime_ns, stat.st_size) for name, stat in stats)
        if signature == self._signature:
            return self._site
        site = _seen(folder, signature)
        self._signature = signature
        return site


@lru_cache(maxsize=1)
def _installed(folder: Path) -> Site:
    return Site.read(folder)


@lru_cache(maxsize=1)
def _seen(folder: Path, signature: Signature) -> Site:
    return Site.read(folder)


def answer(document: Document, method: str, headers: Headers) -> Response:
    """Return what a browser that sent these headers is to get (RFC 9110 §12.5.3, §13.1.2)."""
    body, etag = document.body, f'"{document.etag}"'
    sent = {**document.headers}
    if document.gzipped is not None:
        sent["Vary"] = "Accept-Encoding"
        if _takes_gzip(headers.get("accept-encoding", "")):
            body, etag = document.gzipped, f'"{document.etag}-gzip"'  # other bytes, another tag
            sent["Content-Encoding"] = "gzip"
    sent["ETag"] = etag
    if _is_known(document.etag, headers.get("if-none-match", "")):
        for name in ("Content-Encoding", "Content-Type"):
            sent.pop(name, None)
        return Response(status_code=304, headers=sent)
    if method == "HEAD":
        return Response(headers={**sent, "Content-Length": str(len(body))})
    return Response(body, headers=sent)


def _takes_gzip(accepted: str) -> bool:
    for one in accepted.lower().split(","):
        coding, _, weight = (part.strip() for part in one.partition(";"))
        if coding in ("gzip", "*"):
            return weight.replace(" ", "") not in ("q=0", "q=0.0", "q=0.00", "q=0.000")
    return False


def _is_known(etag: str, given: str) -> bool:
    """Compare weakly: a proxy that compresses by itself makes a weak tag of ours."""
    tags = {one.strip().removeprefix("W/").strip('"').removesuffix("-gzip") for one in given.split(",")}
    return "*" in tags or etag in tags
