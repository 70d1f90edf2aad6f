"""Replace secret values by `***` in whatever leaves: as they are, and as they look when they were encoded. Pure."""

from __future__ import annotations

import base64
import json
import math
import re
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any
from urllib.parse import quote, quote_plus

from milepost.codec import dumps
from milepost.job import JobError, Json, Progress, Step, StepRef

HIDDEN = "***"
SHORTEST_CHARACTERS = 4
"""What is shorter stands in too many other words: masking it would spoil them, and tell it by what is spoilt."""

SHORTEST_LINE_CHARACTERS = 8
CUT_CHARACTERS = 10_000
"""A text that is so long may have been cut to fit, and a secret with it."""


class Mask:
    """Knows some secrets, and takes them out of texts and JSON values."""

    def __init__(self, values: Iterable[Json] = ()) -> None:
        self._plain: set[str] = set()
        self._forms: set[str] = set()
        self._pattern = re.compile(r"(?!)")  # matches nothing
        self.add(values)

    def __bool__(self) -> bool:
        return bool(self._forms)

    def add(self, values: Iterable[Json]) -> None:
        """Learn more secrets: texts, numbers, and what lists and objects hold."""
        plain = {text for value in values for text in _texts(value)}
        if plain <= self._plain:
            return
        self._plain |= plain
        self._forms = {form for text in self._plain for form in _forms(text)}
        longest_first = sorted(self._forms, key=lambda form: (-len(form), form))
        self._pattern = re.compile("|".join(map(re.escape, longest_first)) or r"(?!)")

    def text(self, text: str) -> str:
        """Return `text` without the secrets."""
        shown = self._pattern.sub(HIDDEN, text)
        return self._without_cut_ends(shown) if len(text) >= CUT_CHARACTERS else shown

    def value(self, value: Json) -> Json:
        """Return a JSON value without the secrets, those in names included."""
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, dict):
            return {self.text(str(name)): self.value(inner) for name, inner in value.items()}
        if isinstance(value, list | tuple):
            return [self.value(inner) for inner in value]
        if isinstance(value, int | float) and not isinstance(value, bool) and str(value) in self._plain:
            return HIDDEN
        return value

    def json_value(self, value: Any) -> Json:
        """Return what `value` is as JSON, without the secrets. Raises `BadReport` when it is none."""
        return self.value(json.loads(dumps(value)))

    def json(self, text: str) -> str:
        """Return JSON without the secrets, as JSON."""
        return dumps(self.value(json.loads(text)))

    def progress(self, progress: Progress) -> Progress:
        """Return the progress without the secrets."""
        return replace(
            progress,
            message=self._maybe(progress.message),
            unit=self._maybe(progress.unit),
            step=progress.step and self._named(progress.step),
            steps=tuple(self._named(step) for step in progress.steps),
        )

    def error(self, error: JobError) -> JobError:
        """Return the error without the secrets."""
        return replace(
            error,
            message=self.text(error.message),
            type=self._maybe(error.type),
            traceback=self._maybe(error.traceback),
        )

    def _maybe(self, text: str | None) -> str | None:
        return None if text is None else self.text(text)

    def _named(self, step: Any) -> Any:
        shown: Step | StepRef = replace(step, key=self.text(step.key), name=self.text(step.name))
        return shown

    def _without_cut_ends(self, text: str) -> str:
        for form in self._forms:
            for size in range(len(form) - 1, SHORTEST_CHARACTERS - 1, -1):
                if text.startswith(form[-size:]):
                    text = HIDDEN + text[size:]
                if text.endswith(form[:size]):
                    text = text[:-size] + HIDDEN
        return text


class Masks:
    """The masks of the attempts that run in this process: what it logs is kept clear of all their secrets."""

    def __init__(self) -> None:
        self._masks: frozenset[Mask] = frozenset()  # replaced, never changed: any thread may be reading it

    def add(self, mask: Mask) -> None:
        self._masks |= {mask}

    def discard(self, mask: Mask) -> None:
        self._masks -= {mask}

    def __bool__(self) -> bool:
        return bool(self._masks)

    def text(self, text: str) -> str:
        for mask in self._masks:
            text = mask.text(text)
        return text

    def shown(self, value: Any) -> Any:
        """Return what may be logged of any value: an object that is no JSON as its own words for itself."""
        if not self._masks or value is None or isinstance(value, bool):
            return value
        if not isinstance(value, str | int | float | dict | list | tuple):
            return self.text(repr(value))
        for mask in self._masks:
            value = mask.value(value)
        return value


MASKS = Masks()


def _texts(value: Json) -> Iterator[str]:
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list | tuple):
        for inner in value:
            yield from _texts(inner)
    elif isinstance(value, bytes):
        yield from _texts(value.decode("utf-8", "replace"))
    elif isinstance(value, str | int | float) and not isinstance(value, bool):
        text = str(value).strip()
        if len(text) >= SHORTEST_CHARACTERS:
            yield text


def _forms(text: str) -> Iterator[str]:
    """The ways in which a secret shows up in a log: as it is, escaped, in an address, in a header."""
    yield text
    for escaped in _escaped(text):
        yield escaped
        yield from _escaped(escaped)  # JSON in JSON, or in what a logger quotes
    raw = text.encode("utf-8", "surrogatepass")
    yield from (quote(raw, safe=""), quote(raw), quote_plus(raw))
    yield from _in_base64(raw)
    lines = text.splitlines()
    if len(lines) > 1:  # a private key, say: a log has it line by line
        yield from (line.strip() for line in lines if len(line.strip()) >= SHORTEST_LINE_CHARACTERS)


def _escaped(text: str) -> Iterator[str]:
    for quoted in (json.dumps(text), json.dumps(text, ensure_ascii=False), repr(text)):
        yield quoted[1:-1]
    yield repr(text)[1:-1].replace("\\'", "'")


def _in_base64(raw: bytes) -> Iterator[str]:
    """Base64 of whatever holds the secret, as `Authorization: Basic` does: three ways to fall into its groups of three.

    The first and the last character may carry bits of neighbours and are not looked for.
    """
    for before in range(3):
        encoded = base64.b64encode(bytes(before) + raw).decode().rstrip("=")
        whole = encoded[math.ceil(before * 8 / 6) : (before + len(raw)) * 8 // 6]
        if len(whole) >= SHORTEST_CHARACTERS + 2:
            yield whole
            yield whole.translate(str.maketrans("+/", "-_"))
