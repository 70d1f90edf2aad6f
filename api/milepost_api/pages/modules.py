"""Which modules a module needs: what a browser would find out one round trip after the other."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator, Mapping

# `import x from "./y.js"`, `import "./y.js"`, `export {x} from "./y.js"`; neither `import("./y.js")`, which wants to
# be late, nor the same in a comment on types.
_STATIC = re.compile(r"""^\s*(?:import|export)\b[^;"'()=]*["'](\.{1,2}/[^"']+)["']""", re.MULTILINE)


def needed(files: Mapping[str, bytes], entry: str) -> list[str]:
    """Return `entry` and all modules that it needs of `files`, each after those that it needs itself."""
    order: list[str] = []
    seen: set[str] = set()

    def visit(name: str) -> None:
        if name in seen or name not in files:
            return
        seen.add(name)
        for one in _imported(files[name], name):
            visit(one)
        order.append(name)

    visit(entry)
    return order


def _imported(body: bytes, name: str) -> Iterator[str]:
    for found in _STATIC.finditer(body.decode()):
        yield posixpath.normpath(posixpath.join(posixpath.dirname(name), found[1]))
