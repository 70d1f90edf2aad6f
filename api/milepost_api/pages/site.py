"""One version of all files of `frontend/`, as they are sent. A site never changes; another version is another site."""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Self

from milepost_api.pages.headers import FILE, FOREVER, PAGE, REVALIDATED
from milepost_api.pages.modules import needed

# What is served. Not by the tables of this machine: a browser refuses a module that is said to be text/plain.
MEDIA_TYPES = {
    ".html": "text/html",
    ".js": "text/javascript",
    ".css": "text/css",
    ".svg": "image/svg+xml",
    ".png": "image/png",
    ".ico": "image/vnd.microsoft.icon",
    ".woff2": "font/woff2",
    ".webmanifest": "application/manifest+json",
}
HIDDEN = frozenset({"node_modules", "test", "tests"})
COMPRESSED = frozenset({".html", ".js", ".css", ".svg", ".webmanifest"})  # the others are by themselves

INDEX, ASSETS, EMBEDDED = "index.html", "assets", "milepost.js"
CLIENT, ELEMENTS = "src/index.js", "src/define-list.js"
LATE = ("src/hub.js", "src/drawing.js")
"""What the client and the elements load when they first need it, which here is at once."""
RECOVERY = "recover.js"
"""Helps when the files of a version are not there, and so must not be one of them."""

# All modules side by side. While a deploy is under way this file may come from the new version and the next one be
# asked of the old, which has only the addresses without a version in common with it.
_EMBEDDED = """\
// The elements and the client of Milepost, for a page of any origin:
// <script type="module" src="https://API/milepost.js"></script>
globalThis[Symbol.for("milepost.api")] ??= new URL(".", import.meta.url).href
const load = (folder) => Promise.all({modules}.map((name) => import(folder + name)))
const all = await load("./{folder}").catch(() => load("./"))
export const {{ {exported} }} = Object.assign({{}}, ...all)
"""
_EXPORTED = re.compile(r"^export \{([^}]+)\}", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Document:
    """What is answered at one address."""

    body: bytes
    gzipped: bytes | None
    etag: str
    headers: Mapping[str, str]


class Site:
    """`version` is a hash of all files; `documents` what is answered, by the path below the root of the API."""

    def __init__(self, files: Mapping[str, bytes]) -> None:
        self.version = _version(files)
        self.documents: Mapping[str, Document] = dict(self._documents(files))

    @classmethod
    def read(cls, folder: Path) -> Self:
        """Read all that is served of a folder."""
        return cls({name: (folder / name).read_bytes() for name in names(folder)})

    def _documents(self, files: Mapping[str, bytes]) -> Iterator[tuple[str, Document]]:
        below = f"{ASSETS}/{self.version}/"
        for name, body in files.items():
            if name.endswith(".html"):
                continue
            revalidated = _document(name, body, {**FILE, "Cache-Control": REVALIDATED})
            yield name, revalidated
            kept = {**revalidated.headers, "Cache-Control": FOREVER}
            yield below + name, Document(body, revalidated.gzipped, revalidated.etag, kept)
        if ELEMENTS in files:
            script = _embedded(files, below).encode()
            yield EMBEDDED, _document(EMBEDDED, script, {**FILE, "Cache-Control": REVALIDATED})
        page = _document(INDEX, _with_version(files[INDEX].decode(), files, below).encode(), PAGE)
        yield INDEX, page
        yield "", page


def names(folder: Path) -> Iterator[str]:
    """Name the files of a folder that are served, in order: nothing hidden, no tests, nothing of an unknown kind."""
    # Pruned on the way: a checkout has tens of thousands of files in what is hidden.
    for inside, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith(".") and name not in HIDDEN)
        for path in (Path(inside) / name for name in sorted(files)):
            if path.suffix in MEDIA_TYPES and not path.name.startswith(".") and path.is_file():
                yield path.relative_to(folder).as_posix()


def _version(files: Mapping[str, bytes]) -> str:
    digest = hashlib.sha256()
    for name, body in sorted(files.items()):
        digest.update(f"{name}\0{len(body)}\0".encode() + body)
    return digest.hexdigest()[:16]


def _document(name: str, body: bytes, headers: Mapping[str, str]) -> Document:
    kind = PurePosixPath(name).suffix
    smaller = gzip.compress(body, 9, mtime=0) if kind in COMPRESSED else body
    return Document(
        body,
        smaller if len(smaller) < len(body) else None,
        hashlib.sha256(body).hexdigest()[:32],
        {**headers, "Content-Type": _media_type(name)},
    )


def _media_type(name: str) -> str:
    kind = MEDIA_TYPES[PurePosixPath(name).suffix]
    return f"{kind}; charset=utf-8" if kind.startswith("text/") else kind


def _embedded(files: Mapping[str, bytes], folder: str) -> str:
    """Return the script that other sites load: it gives them what the client and the elements export."""
    entries = [name for name in (CLIENT, ELEMENTS) if name in files]
    modules = dict.fromkeys(name for entry in [*entries, *LATE] for name in needed(files, entry))
    lists = (found for entry in entries for found in _EXPORTED.findall(files[entry].decode()))
    exported = dict.fromkeys(name.strip() for names in lists for name in names.split(",") if name.strip())
    return _EMBEDDED.format(modules=json.dumps([*modules]), folder=folder, exported=", ".join(exported))


def _with_version(page: str, files: Mapping[str, bytes], below: str) -> str:
    """Let a page name the files of its version, and all its modules at once.

    Relative, so that it works below any prefix that a proxy puts before it.
    """
    entries: list[str] = []

    def named(found: re.Match[str]) -> str:
        attribute, name = found[1], found[2]
        if name not in files or name == RECOVERY:
            return found[0]
        if attribute == "src" and name.endswith(".js"):
            entries.append(name)
        return f'{attribute}="{below}{name}"'

    page = re.sub(r'\b(src|href)="([^"]+)"', named, page)
    modules = dict.fromkeys(
        name for entry in [*entries, *LATE] for name in needed(files, entry) if name not in entries
    )
    hints = "".join(f'  <link rel="modulepreload" href="{below}{name}">\n  ' for name in modules)
    return page.replace("</head>", f"{hints}</head>", 1)
