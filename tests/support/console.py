"""Console blocks of a page: commands with their output, run and compared."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

_FENCE = re.compile(r"^```(?P<info>[^\n]*)\n(?P<body>.*?)^```$", re.DOTALL | re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Block:
    """One fenced block: its language, what else stands on its first line, its text."""

    language: str
    note: str
    body: str


@dataclass(frozen=True, slots=True)
class Exchange:
    """One command as it was typed, and what it is said to print."""

    command: str
    output: str


def blocks(page: Path) -> list[Block]:
    """Return the fenced blocks of a page, in order."""
    found = _FENCE.finditer(page.read_text())
    return [
        Block(language, how, one["body"])
        for one in found
        for language, _, how in [one["info"].partition(" ")]
    ]


def exchanges(body: str) -> list[Exchange]:
    """Cut a console block into commands (`$ ...`) and their output."""
    pieces = re.split(r"^\$ (.*)\n", body, flags=re.MULTILINE)
    return [Exchange(*pair) for pair in zip(pieces[1::2], pieces[2::2], strict=True)]


class Stand:
    """What stands for what: names in the page, such as ids, and the real ones that take their place."""

    def __init__(self, **patterns: str) -> None:
        self._patterns = patterns
        self._real: dict[str, str] = {}

    def fill(self, text: str) -> str:
        """Return a command of the page with the real names in it."""
        for written, real in self._real.items():
            text = text.replace(written, real)
        return text

    def learn(self, written: str, real: str) -> None:
        """Match the names in what the page shows with those in what was printed, in order."""
        for pattern in self._patterns.values():
            names, found = _distinct(pattern, written), _distinct(pattern, real)
            self._real |= {
                name: one for name, one in zip(names, found, strict=False) if name not in self._real
            }


def _distinct(pattern: str, text: str) -> Sequence[str]:
    return list(dict.fromkeys(match[0] for match in re.finditer(pattern, text)))


def matches(written: str, real: str) -> bool:
    """Whether a line was printed as the page shows it: `...` stands for anything, numbers of time for any."""
    # The wait that the server asks for is drawn by chance.
    written, real = (
        re.sub(r"^retry: \d+$", "retry: N", text, flags=re.MULTILINE) for text in (written, real)
    )
    pattern = re.escape(written).replace(re.escape("..."), ".*")
    return re.fullmatch(pattern, real) is not None


def difference(written: str, real: str) -> str:
    """Return the first lines that differ, as a sentence; "" when the output is as the page shows it."""
    shown, printed = written.rstrip("\n").split("\n"), real.rstrip("\n").split("\n")
    for line, other in zip(shown, printed, strict=False):
        if not matches(line, other):
            return f"The page shows\n  {line}\nand it prints\n  {other}"
    if len(shown) != len(printed):
        return f"The page shows {len(shown)} lines and it prints {len(printed)}:\n{real}"
    return ""
